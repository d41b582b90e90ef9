//! The ValidatingWebhookConfiguration, which this process writes itself: whoever else did so would take the authority out again.
//!
//! Its fields are those that Gardener's extension library gives to the webhooks of extensions (`extensions/pkg/webhook`, v1.149).

use extension_config::names;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    RuleWithOperations, ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

/// Name of the configuration.
pub(crate) const NAME: &str = names::CONTROLLER_NAME;
/// Where Shoots are judged.
pub(crate) const PATH: &str = "/webhooks/validate-shoots";
/// How long API servers wait.
pub(crate) const TIMEOUT_SECONDS: i32 = 10;
/// gardener-apiserver's plugin ExtensionLabels puts it on every Shoot for which the extension is in effect, before webhooks are asked.
fn label() -> String {
    format!("extensions.extensions.gardener.cloud/{}", names::EXTENSION_TYPE)
}

/// How API servers reach this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By the name of a Service of the cluster in which they run: the virtual garden has no Services of its own.
    Url { host: String, port: u16 },
    /// By a Service of the cluster whose API they serve.
    Service { name: String, namespace: String, port: u16 },
}

impl Reach {
    /// The names that the server's certificate has; the first is the one by which API servers call.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Url { host, .. } => vec![host.clone()],
            Self::Service { name, namespace, .. } => vec![format!("{name}.{namespace}.svc")],
        }
    }

    fn client_config(&self, bundle: &str) -> WebhookClientConfig {
        let ca_bundle = Some(ByteString(bundle.as_bytes().to_vec()));
        match self {
            Self::Url { host, port } => WebhookClientConfig {
                ca_bundle,
                url: Some(format!("https://{host}:{port}{PATH}")),
                ..WebhookClientConfig::default()
            },
            Self::Service { name, namespace, port } => WebhookClientConfig {
                ca_bundle,
                service: Some(ServiceReference {
                    name: name.clone(),
                    namespace: namespace.clone(),
                    path: Some(PATH.to_owned()),
                    port: Some((*port).into()),
                }),
                ..WebhookClientConfig::default()
            },
        }
    }
}

/// The configuration, as it is applied. `owner`: the Namespace with which it goes.
pub(crate) fn configuration(
    reach: &Reach,
    bundle: &str,
    owner: Option<OwnerReference>,
) -> ValidatingWebhookConfiguration {
    let rule = RuleWithOperations {
        api_groups: Some(vec!["core.gardener.cloud".to_owned()]),
        api_versions: Some(vec!["*".to_owned()]),
        operations: Some(["CREATE", "UPDATE"].map(str::to_owned).to_vec()),
        resources: Some(vec!["shoots".to_owned()]),
        ..RuleWithOperations::default()
    };
    let webhook = ValidatingWebhook {
        name: format!("validation.{}.extensions.gardener.cloud", names::EXTENSION_TYPE),
        admission_review_versions: ["v1", "v1beta1"].map(str::to_owned).to_vec(),
        client_config: reach.client_config(bundle),
        failure_policy: Some("Fail".to_owned()),
        match_policy: Some("Exact".to_owned()),
        object_selector: Some(LabelSelector {
            match_labels: Some([(label(), "true".to_owned())].into()),
            ..LabelSelector::default()
        }),
        rules: Some(vec![rule]),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(TIMEOUT_SECONDS),
        ..ValidatingWebhook::default()
    };
    ValidatingWebhookConfiguration {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        webhooks: Some(vec![webhook]),
    }
}

/// Whether what is there says all that is wanted; what others or defaults have added, webhooks of their own included, does not matter.
pub(crate) fn is_as_wanted(found: &ValidatingWebhookConfiguration, wanted: &ValidatingWebhookConfiguration) -> bool {
    let Some(wanted_one) = wanted.webhooks.iter().flatten().next() else { return false };
    let Some(found_one) = found.webhooks.iter().flatten().find(|webhook| webhook.name == wanted_one.name) else {
        return false;
    };
    let with_defaults = ValidatingWebhook {
        namespace_selector: found_one.namespace_selector.clone(),
        match_conditions: found_one.match_conditions.clone(),
        rules: wanted_one.rules.as_ref().map(|rules| {
            let scope = Some("*".to_owned());
            rules.iter().map(|rule| RuleWithOperations { scope: scope.clone(), ..rule.clone() }).collect()
        }),
        ..wanted_one.clone()
    };
    let owners = wanted.metadata.owner_references.iter().flatten();
    let has = |owner: &OwnerReference| found.metadata.owner_references.iter().flatten().any(|it| it.uid == owner.uid);
    *found_one == with_defaults && owners.into_iter().all(has)
}

/// Whether API servers have been given this authority.
pub(crate) fn publishes(found: &ValidatingWebhookConfiguration, authority: &str) -> bool {
    let bundle = found.webhooks.iter().flatten().find_map(|webhook| webhook.client_config.ca_bundle.as_ref());
    bundle.is_some_and(|bundle| String::from_utf8_lossy(&bundle.0).contains(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> ValidatingWebhookConfiguration {
        let owner = OwnerReference { uid: "u".to_owned(), ..OwnerReference::default() };
        configuration(&Reach::Url { host: "a.garden".to_owned(), port: 443 }, "CA", Some(owner))
    }

    /// As an API server gives it back.
    fn stored() -> ValidatingWebhookConfiguration {
        let mut stored = wanted();
        for webhook in stored.webhooks.iter_mut().flatten() {
            webhook.namespace_selector = Some(LabelSelector::default());
            for rule in webhook.rules.iter_mut().flatten() {
                rule.scope = Some("*".to_owned());
            }
        }
        stored
    }

    #[test]
    fn what_is_stored_needs_no_write_and_a_change_does() {
        assert!(is_as_wanted(&stored(), &wanted()));
        // A webhook that somebody else has added is his: to apply ours again would not take it away.
        let mut shared = stored();
        shared
            .webhooks
            .as_mut()
            .unwrap()
            .insert(0, ValidatingWebhook { name: "other".to_owned(), ..Default::default() });
        assert!(is_as_wanted(&shared, &wanted()));
        let edits: [fn(&mut ValidatingWebhookConfiguration); 5] = [
            |it| it.webhooks.as_mut().unwrap()[0].client_config.ca_bundle = None,
            |it| it.webhooks.as_mut().unwrap()[0].failure_policy = Some("Ignore".to_owned()),
            |it| it.webhooks.as_mut().unwrap()[0].object_selector = None,
            |it| it.webhooks = Some(Vec::new()),
            |it| it.metadata.owner_references = None,
        ];
        for (index, edit) in edits.into_iter().enumerate() {
            let mut changed = stored();
            edit(&mut changed);
            assert!(!is_as_wanted(&changed, &wanted()), "{index}");
        }
        assert!(publishes(&stored(), "CA") && !publishes(&stored(), "CB"));
    }

    #[test]
    fn a_service_is_called_by_its_name() {
        let reach = Reach::Service { name: "a".to_owned(), namespace: "garden".to_owned(), port: 443 };
        assert_eq!(reach.names(), ["a.garden.svc"]);
        let webhook = configuration(&reach, "CA", None).webhooks.unwrap().remove(0);
        let service = webhook.client_config.service.unwrap();
        assert_eq!((service.name.as_str(), service.path.as_deref()), ("a", Some(PATH)));
        assert_eq!(webhook.client_config.url, None);
    }
}
