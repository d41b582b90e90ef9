//! Files as they may be on a node. `DIR` stands for the directory of the main file.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// With which line a configuration lets containerd start.
pub(crate) struct Starts {
    pub(crate) on_1_7: bool,
    pub(crate) on_2_2: bool,
    pub(crate) on_2_3: bool,
}

const ALL: Starts = Starts { on_1_7: true, on_2_2: true, on_2_3: true };
const NONE: Starts = Starts { on_1_7: false, on_2_2: false, on_2_3: false };
const ONLY_1: Starts = Starts { on_1_7: true, on_2_2: false, on_2_3: false };
const ONLY_2: Starts = Starts { on_1_7: false, on_2_2: true, on_2_3: true };
const ONLY_2_3: Starts = Starts { on_1_7: false, on_2_2: false, on_2_3: true };

/// A main file, and others by their paths below its directory.
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    pub(crate) starts: Starts,
    /// `config dump` takes it.
    pub(crate) only_the_daemon_knows: bool,
    main: String,
    others: Vec<(&'static str, String)>,
}

impl Layout {
    /// Writes the files; gives the main one.
    pub(crate) fn write(&self, directory: &Path) -> PathBuf {
        let main = directory.join("config.toml");
        let others = self.others.iter().map(|(path, text)| (directory.join(path), text));
        for (path, text) in others.chain([(main.clone(), &self.main)]) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text.replace("DIR", directory.to_str().unwrap())).unwrap();
        }
        main
    }
}

fn layout(name: &'static str, starts: Starts, main: &str, others: &[(&'static str, &str)]) -> Layout {
    let short = |text: &str| {
        text.replace("IMPORTS", "imports = ['DIR/conf.d/*.toml']").replace("NRI", "plugins.'io.containerd.nri.v1.nri'")
    };
    let others = others.iter().map(|(path, text)| (*path, short(text))).collect();
    Layout { name, starts, only_the_daemon_knows: false, main: short(main), others }
}

pub(crate) fn layouts() -> Vec<Layout> {
    let missing = Layout {
        only_the_daemon_knows: true,
        ..layout("a missing import", NONE, "version = 2\nimports = ['gone.toml']", &[])
    };
    vec![
        missing,
        layout("nothing", ALL, "", &[]),
        layout("nothing but imports", ALL, "IMPORTS", &[]),
        layout("version 2", ALL, "version = 2\nIMPORTS\n[NRI]\n", &[]),
        layout("version 3", ONLY_2, "version = 3\nIMPORTS\n[NRI]\nplugin_request_timeout = '3s'", &[]),
        layout("version 4", ONLY_2_3, "version = 4\nIMPORTS\n", &[]),
        layout("version 5", NONE, "version = 5", &[]),
        layout("version as a text", NONE, "version = '2'", &[]),
        layout(
            "every value",
            ALL,
            "version = 2\nIMPORTS\n[NRI]\ndisable = false\ndisable_connections = true\nsocket_path = '/s'\nplugin_path = '/p'\n\
             plugin_config_path = '/c'\nplugin_registration_timeout = '1m30s'\nplugin_request_timeout = '1.5h'\nunknown = 3",
            &[],
        ),
        layout(
            "a table in a drop-in beside one in the main file",
            ALL,
            "version = 2\nIMPORTS\n[NRI]\ndisable = false\nsocket_path = '/s'\nplugin_request_timeout = '9s'",
            &[("conf.d/a.toml", "[NRI]\nplugin_request_timeout = '7s'")],
        ),
        layout(
            "false over true",
            ALL,
            "version = 2\nIMPORTS\n[NRI]\ndisable = true\nsocket_path = '/s'",
            &[("conf.d/a.toml", "version = 2\n[NRI]\ndisable = false\nsocket_path = ''")],
        ),
        layout(
            "an empty table over a full one",
            ALL,
            "version = 2\nIMPORTS\n[NRI]\ndisable = false\nsocket_path = '/s'",
            &[("conf.d/a.toml", "version = 2\n[NRI]\n")],
        ),
        layout(
            "a validator in two files",
            ALL,
            "version = 2\nIMPORTS\n[NRI]\ndisable = false\n[NRI.default_validator]\nenable = true\nrequired_plugins = ['a', 'b']",
            &[(
                "conf.d/a.toml",
                "[NRI.default_validator]\nrequired_plugins = ['c']\nreject_oci_hook_adjustment = true",
            )],
        ),
        layout(
            "a validator of another type",
            ONLY_1,
            "version = 2\nIMPORTS\n[NRI]\ndefault_validator = { enable = 'yes' }",
            &[],
        ),
        layout(
            "drop-ins in the order of their names",
            ALL,
            "version = 2\nIMPORTS\n",
            &[
                ("conf.d/10-a.toml", "[NRI]\nsocket_path = '/10'\nplugin_path = '/10'"),
                ("conf.d/9-a.toml", "[NRI]\nsocket_path = '/9'"),
                ("conf.d/B.toml", "[NRI]\nplugin_path = '/B'\nsocket_path = '/B'"),
                ("conf.d/.hidden.toml", "[NRI]\nplugin_config_path = '/hidden'\nsocket_path = '/hidden'"),
                ("conf.d/z.toml.bak", "[NRI]\nsocket_path = '/bak'"),
            ],
        ),
        layout(
            "a name after ours",
            ALL,
            "version = 2\nIMPORTS\n",
            &[("conf.d/zzz.toml", "[NRI]\ndisable = false\nplugin_request_timeout = '3s'")],
        ),
        layout(
            "imports in breadth and in a circle",
            ALL,
            "version = 2\nimports = ['a.toml', 'DIR/conf.d/*.toml', './config.toml']\n",
            &[
                ("a.toml", "imports = ['deep/b.toml']\n[NRI]\nsocket_path = '/a'"),
                ("deep/b.toml", "imports = ['../a.toml', 'c.toml']\n[NRI]\nsocket_path = '/b'\nplugin_path = '/b'"),
                ("deep/c.toml", "[NRI]\nplugin_path = '/c'"),
                ("conf.d/c.toml", "[NRI]\nsocket_path = '/conf.d'"),
            ],
        ),
        layout(
            "a question mark without a star is a name",
            ALL,
            "version = 2\nimports = ['?.toml']",
            &[("?.toml", "[NRI]\nsocket_path = '/?'"), ("a.toml", "[NRI]\nsocket_path = '/a'")],
        ),
        layout(
            "classes and questions in a pattern",
            ALL,
            "version = 2\nimports = ['[^a]?*.toml', '\\**', '[[]*']",
            &[
                ("ab.toml", "[NRI]\nsocket_path = '/ab'"),
                ("b.toml", "[NRI]\nplugin_path = '/b'"),
                ("bc.toml", "[NRI]\nplugin_config_path = '/bc'"),
                ("*x", "[NRI]\nplugin_request_timeout = '8s'"),
                ("[x", "[NRI]\ndisable_connections = true"),
            ],
        ),
        layout("a pattern without an end", NONE, "version = 2\nimports = ['[*.toml']", &[]),
        layout("a pattern that finds nothing", ALL, "version = 2\nimports = ['nowhere/*.toml', '*.conf']", &[]),
        layout("a broken drop-in", NONE, "version = 2\nIMPORTS", &[("conf.d/a.toml", "a = ")]),
        layout(
            "an integer as a timeout",
            ONLY_1,
            "version = 2\nIMPORTS\n[NRI]\nplugin_request_timeout = 2000000000",
            &[],
        ),
        layout("a float as a timeout", NONE, "version = 2\n[NRI]\nplugin_request_timeout = 2.0", &[]),
        layout("a timeout without a unit", NONE, "version = 2\n[NRI]\nplugin_request_timeout = '60'", &[]),
        layout("a timeout of zero", ALL, "version = 2\nIMPORTS\n[NRI]\nplugin_request_timeout = '0'", &[]),
        layout("a timeout below zero", ALL, "version = 2\nIMPORTS\n[NRI]\nplugin_request_timeout = '-1.5s'", &[]),
        layout("a text as a boolean", NONE, "version = 2\n[NRI]\ndisable = 'true'", &[]),
        layout("a boolean as a table", NONE, "version = 2\n[plugins]\n'io.containerd.nri.v1.nri' = true", &[]),
        layout(
            "disabled plugins in two files",
            ALL,
            "version = 2\nIMPORTS\ndisabled_plugins = ['io.containerd.snapshotter.v1.zfs']",
            &[
                ("conf.d/a.toml", "disabled_plugins = ['io.containerd.nri.v1.nri']"),
                ("conf.d/b.toml", "disabled_plugins = []\n[NRI]\ndisable = false"),
            ],
        ),
        layout("a disabled plugin by its ID in version 2", NONE, "version = 2\ndisabled_plugins = ['nri']", &[]),
        layout("a disabled plugin with a dot", ONLY_2, "version = 2\nIMPORTS\ndisabled_plugins = ['a.b']", &[]),
        layout("a plugin by its ID in version 2", ONLY_2, "version = 2\nIMPORTS\n[plugins.cri]", &[]),
        layout(
            "version 1, by the ID",
            ALL,
            "IMPORTS\n[plugins.nri]\ndisable = false\nplugin_request_timeout = '9s'",
            &[],
        ),
        layout(
            "version 1, by the name",
            ALL,
            "version = 1\nIMPORTS\n[NRI]\ndisable = false\nplugin_request_timeout = '9s'",
            &[],
        ),
        layout("version 1, disabled by the ID", ALL, "IMPORTS\ndisabled_plugins = ['nri']", &[]),
        layout(
            "version 1 with a drop-in of version 2",
            ONLY_2,
            "IMPORTS\n[plugins.cri]",
            &[("conf.d/a.toml", "version = 2\n[NRI]\ndisable = false")],
        ),
        layout(
            "nothing, with a drop-in of version 2",
            ALL,
            "IMPORTS",
            &[("conf.d/a.toml", "version = 2\n[NRI]\nsocket_path = '/s'")],
        ),
        layout(
            "version 2 with a drop-in of version 1",
            ALL,
            "version = 2\nIMPORTS\n[NRI]\ndisable = false",
            &[("conf.d/a.toml", "version = 1\n")],
        ),
        layout(
            "version 3 with a drop-in of version 2",
            ALL,
            "version = 3\nIMPORTS\n[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'native'\n[NRI]\n",
            &[(
                "conf.d/a.toml",
                "version = 2\n[NRI]\nsocket_path = '/s'\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'x'",
            )],
        ),
        layout(
            "version 3 with a drop-in of version 4",
            ONLY_2_3,
            "version = 3\nIMPORTS",
            &[("conf.d/a.toml", "version = 4\n[NRI]\nsocket_path = '/s'")],
        ),
    ]
}

/// The output of `containerd config default` as it is, and with what Gardener's node agent makes of it (gardener v1.149
/// `pkg/nodeagent/controller/operatingsystemconfig/containerd_config.go`).
pub(crate) fn gardeners(default: &str) -> Vec<Layout> {
    let mut patched: Table = default.parse().unwrap();
    patched.insert("imports".to_owned(), Value::Array(vec![Value::String("DIR/conf.d/*.toml".to_owned())]));
    let plugins = patched.get_mut("plugins").and_then(Value::as_table_mut).unwrap();
    let is_version_2 =
        plugins.contains_key("io.containerd.grpc.v1.cri") && !plugins.contains_key("io.containerd.cri.v1.images");
    let (images, runtime, sandbox) = if is_version_2 {
        ("io.containerd.grpc.v1.cri", "io.containerd.grpc.v1.cri", &["sandbox_image"][..])
    } else {
        ("io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", &["pinned_images", "sandbox"][..])
    };
    set(plugins, images, sandbox, Value::String("registry.example/pause:3.10".to_owned()));
    set(plugins, images, &["registry", "config_path"], Value::String("/etc/containerd/certs.d".to_owned()));
    let binaries = Value::String("/opt/cni/bin".to_owned());
    if plugins[runtime]["cni"].get("bin_dirs").is_some() {
        set(plugins, runtime, &["cni", "bin_dirs"], Value::Array(vec![binaries]));
    } else {
        set(plugins, runtime, &["cni", "bin_dir"], binaries);
    }
    let cgroup = ["containerd", "runtimes", "runc", "options", "SystemdCgroup"];
    set(plugins, runtime, &cgroup, Value::Boolean(true));
    let patched = patched.to_string();
    let mine = [("conf.d/cri.toml", "[plugins.'io.containerd.gc.v1.scheduler']\nmutation_threshold = 50")];
    vec![
        layout("config default", ALL, default, &[]),
        layout("config default, patched", ALL, &patched, &[]),
        layout("config default, patched, with somebody's drop-in", ALL, &patched, &mine),
    ]
}

/// Sets a value that is there by default, so that a path that is not the real one fails.
fn set(plugins: &mut Table, plugin: &str, path: &[&str], value: Value) {
    let (key, tables) = path.split_last().unwrap();
    let mut table = plugins.get_mut(plugin).and_then(Value::as_table_mut).unwrap();
    for name in tables {
        table = table.get_mut(*name).and_then(Value::as_table_mut).unwrap_or_else(|| panic!("{plugin} {path:?}"));
    }
    assert!(table.insert((*key).to_owned(), value).is_some(), "{plugin} {path:?}");
}
