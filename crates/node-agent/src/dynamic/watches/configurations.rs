//! The ConfigMaps that can matter to a node, by their names: its own, its group's, the default. Others with the same label cost nothing.

use std::collections::{BTreeMap, VecDeque};

use dynamic_config::Data;
use futures::StreamExt;
use futures::future::select_all;
use futures::stream::LocalBoxStream;

use crate::dynamic::Input;

/// What stands at a name, now and at each change.
pub(super) type Contents = LocalBoxStream<'static, Option<Data>>;

/// Something that the API server was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Listed<T> {
    /// The first list is not complete.
    Awaited,
    /// What was seen last.
    Seen(T),
}

struct Level {
    name: String,
    contents: Contents,
    content: Listed<Option<Data>>,
}

/// Follows at most three names (four for the moment in which the group changes), and the label that names the group.
pub(super) struct Configurations {
    /// What the names begin with.
    prefix: &'static str,
    watch: Box<dyn Fn(&str) -> Contents>,
    groups: LocalBoxStream<'static, Option<String>>,
    /// The node's own and the default first, then the groups'.
    levels: Vec<Level>,
    /// What the label says.
    group: Listed<Option<String>>,
    /// What was published of it.
    reported: Listed<Option<String>>,
    queue: VecDeque<Input>,
}

impl Configurations {
    pub(super) fn new(
        prefix: &'static str,
        node: &str,
        groups: LocalBoxStream<'static, Option<String>>,
        watch: impl Fn(&str) -> Contents + 'static,
    ) -> Self {
        let mut all = Self {
            prefix,
            watch: Box::new(watch),
            groups,
            levels: Vec::new(),
            group: Listed::Awaited,
            reported: Listed::Awaited,
            queue: VecDeque::new(),
        };
        for level in [format!("node.{node}"), "default".to_owned()] {
            all.follow(format!("{prefix}{level}"));
        }
        all
    }

    fn name_of(&self, group: &str) -> String {
        format!("{}group.{group}", self.prefix)
    }

    /// What changed next.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            if let Some(input) = self.queue.pop_front() {
                return input;
            }
            let changes = select_all(self.levels.iter_mut().map(|level| level.contents.next()));
            tokio::select! {
                (content, index, _) = changes => match content {
                    Some(content) => self.levels[index].content = Listed::Seen(content),
                    // A watch never ends; should it, then what it showed last stays true.
                    None => self.levels[index].contents = futures::stream::pending().boxed_local(),
                },
                Some(group) = self.groups.next() => {
                    let reported = if let Listed::Seen(Some(reported)) = &self.reported { Some(self.name_of(reported)) } else { None };
                    let named = group.as_deref().map(|group| self.name_of(group));
                    let named: Vec<String> = reported.into_iter().chain(named).collect();
                    self.group = Listed::Seen(group);
                    self.drop_groups_but(&named);
                    for name in named {
                        self.follow(name);
                    }
                }
                else => futures::future::pending().await,
            }
            self.report();
        }
    }

    fn follow(&mut self, name: String) {
        if self.levels.iter().all(|level| level.name != name) {
            self.levels.push(Level { contents: (self.watch)(&name), name, content: Listed::Awaited });
        }
    }

    fn drop_groups_but(&mut self, named: &[String]) {
        let mut position = 0;
        self.levels.retain(|level| {
            position += 1;
            position <= 2 || named.contains(&level.name)
        });
    }

    /// Nothing is published before all that decides is known. A new group is published when its ConfigMap is known and the old one's still is: in no moment
    /// does the default look like the node's configuration.
    fn report(&mut self) {
        if self.levels.iter().take(2).any(|level| level.content == Listed::Awaited) {
            return;
        }
        self.queue.push_back(Input::Maps(self.maps()));
        let Listed::Seen(group) = self.group.clone() else { return };
        if self.reported == self.group {
            return;
        }
        let name = group.as_deref().map(|group| self.name_of(group));
        let is_known =
            |name: &String| self.levels.iter().any(|level| level.name == *name && level.content != Listed::Awaited);
        if name.as_ref().is_none_or(is_known) {
            self.reported = Listed::Seen(group.clone());
            self.queue.push_back(Input::Group(group));
            self.drop_groups_but(name.as_slice());
            self.queue.push_back(Input::Maps(self.maps()));
        }
    }

    fn maps(&self) -> BTreeMap<String, Data> {
        let there = self.levels.iter().filter_map(|level| match &level.content {
            Listed::Seen(Some(data)) => Some((level.name.clone(), data.clone())),
            Listed::Seen(None) | Listed::Awaited => None,
        });
        there.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use dynamic_config::Data;
    use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
    use futures::{FutureExt, StreamExt};

    use super::Configurations;
    use crate::dynamic::Input;

    type Open = Rc<RefCell<BTreeMap<String, UnboundedSender<Option<Data>>>>>;

    struct Fixture {
        open: Open,
        groups: UnboundedSender<Option<String>>,
        configurations: Configurations,
    }

    impl Fixture {
        fn new() -> Self {
            let open = Open::default();
            let (groups, labels): (_, UnboundedReceiver<_>) = unbounded();
            let watched = Rc::clone(&open);
            let watch = move |name: &str| {
                let (sender, receiver) = unbounded();
                watched.borrow_mut().insert(name.to_owned(), sender);
                receiver.boxed_local()
            };
            Self {
                open,
                groups,
                configurations: Configurations::new("cri-resmgr-config.", "n", labels.boxed_local(), watch),
            }
        }

        fn stands(&self, name: &str, text: Option<&str>) {
            let data = text.map(|text| Data::from([("policy".to_owned(), text.to_owned())]));
            self.open.borrow()[&format!("cri-resmgr-config.{name}")].unbounded_send(data).unwrap();
        }

        /// Names that are watched.
        fn watched(&self) -> Vec<String> {
            let open = self.open.borrow();
            open.iter().filter(|(_, sender)| !sender.is_closed()).map(|(name, _)| name[18..].to_owned()).collect()
        }

        fn reported(&mut self) -> Vec<String> {
            let mut all = Vec::new();
            while let Some(input) = self.configurations.next().now_or_never() {
                all.push(match input {
                    Input::Maps(maps) => maps
                        .iter()
                        .map(|(name, data)| format!("{}={}", &name[18..], data["policy"]))
                        .collect::<Vec<_>>()
                        .join(" "),
                    Input::Group(group) => format!("group {group:?}"),
                    other => panic!("{other:?}"),
                });
            }
            all
        }
    }

    #[test]
    fn no_configuration_is_published_before_every_name_was_listed() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.watched(), ["default", "node.n"]);
        fixture.stands("default", Some("d"));
        assert!(fixture.reported().is_empty());
        fixture.stands("node.n", None);
        assert_eq!(fixture.reported(), ["default=d"]);
        fixture.groups.unbounded_send(Some("g".into())).unwrap();
        assert_eq!(fixture.reported(), ["default=d"], "the group is not known before its ConfigMap is");
        fixture.stands("group.g", Some("g"));
        let reported = fixture.reported();
        assert_eq!(reported, ["default=d group.g=g", "group Some(\"g\")", "default=d group.g=g"]);
    }

    #[test]
    fn at_most_three_config_map_names_are_watched_whatever_the_label() {
        let mut fixture = Fixture::new();
        fixture.stands("default", Some("d"));
        fixture.stands("node.n", None);
        fixture.groups.unbounded_send(Some("g0".into())).unwrap();
        fixture.reported();
        fixture.stands("group.g0", Some("0"));
        fixture.reported();
        for number in 1..50 {
            fixture.groups.unbounded_send(Some(format!("g{number}"))).unwrap();
            fixture.reported();
            assert!(fixture.watched().len() <= 4, "{:?}", fixture.watched());
        }
        // The old group's stays until the new one's is known.
        fixture.stands("group.g49", Some("49"));
        let reported = fixture.reported();
        assert_eq!(reported, ["default=d group.g0=0 group.g49=49", "group Some(\"g49\")", "default=d group.g49=49"]);
        assert_eq!(fixture.watched(), ["default", "group.g49", "node.n"]);
        fixture.groups.unbounded_send(None).unwrap();
        assert_eq!(fixture.reported(), ["default=d group.g49=49", "group None", "default=d"]);
        assert_eq!(fixture.watched(), ["default", "node.n"]);
    }
}
