//! Configurations as people have them, and what comes of each. The names of cases (`C01` …) are those of the field reports.

use super::*;

const HUB: &str = "index.docker.io";

/// What a configuration leads to.
#[derive(Clone, Copy)]
enum Found {
    Nothing,
    Password(&'static str, &'static str),
    /// With the password next to it, where there is one.
    Token(&'static str, Option<(&'static str, &'static str)>),
    /// The helper's name, the key that it hears.
    Helper(&'static str, &'static str),
}

fn check(case: &str, config: &str, registry: &str, repository: &str, expected: Found) {
    let config = Config::read(config.as_bytes()).unwrap();
    if let Found::Helper(name, key) = expected {
        let helper = Helper { program: format!("docker-credential-{name}"), key: key.to_owned() };
        return assert_eq!(config.helper(registry), Some(helper), "{case}");
    }
    assert_eq!(config.helper(registry), None, "{case}");
    let pair = |(user, password): (&str, &str)| (user.to_owned(), password.to_owned());
    let expected = match expected {
        Found::Password(user, password) => {
            Some(Credentials { password: Some(pair((user, password))), identity_token: None })
        }
        Found::Token(token, password) => {
            Some(Credentials { password: password.map(pair), identity_token: Some(token.to_owned()) })
        }
        Found::Nothing | Found::Helper(..) => None,
    };
    assert_eq!(config.entry(registry, repository), Ok(expected), "{case}");
}

#[test]
fn an_entry_of_the_credentials_file_is_read_as_docker_does() {
    for (case, entry, expected) in [
        ("user:pass:word", r#"{"auth": "dXNlcjpwYXNzOndvcmQ="}"#, Found::Password("user", "pass:word")),
        ("C02", r#"{"auth": "dTo=", "identitytoken": "t"}"#, Found::Token("t", None)),
        ("C02 with a password", r#"{"auth": "dTpw", "identitytoken": "t"}"#, Found::Token("t", Some(("u", "p")))),
        ("C02 alone", r#"{"identitytoken": "t"}"#, Found::Token("t", None)),
        ("C03", r#"{"username": "u", "password": "p"}"#, Found::Password("u", "p")),
        ("C03 next to auth", r#"{"auth": "dTpw", "username": "x", "password": "y"}"#, Found::Password("u", "p")),
        ("C03 with null", r#"{"auth": null, "username": "u", "password": "p"}"#, Found::Password("u", "p")),
        ("half a pair", r#"{"username": "u"}"#, Found::Nothing),
        ("broken into lines", r#"{"auth": "dXNl\r\ncjpw\nYXNz\n"}"#, Found::Password("user", "pass")),
        ("padded with zeros", r#"{"auth": "dTpwAAA="}"#, Found::Password("u", "p")),
        ("null", "null", Found::Nothing),
        ("empty", "{}", Found::Nothing),
        ("empty texts", r#"{"auth": "", "username": "", "identitytoken": ""}"#, Found::Nothing),
        ("all null", r#"{"auth": null, "username": null, "password": null, "identitytoken": null}"#, Found::Nothing),
        ("what we do not know", r#"{"auth": "dTpw", "email": "a@b", "x": [1]}"#, Found::Password("u", "p")),
    ] {
        check(case, &format!(r#"{{"auths": {{"r.example.com": {entry}}}}}"#), "r.example.com", "team/i", expected);
    }
}

#[test]
fn credentials_come_from_the_helper_then_the_store_then_the_file() {
    let all = r#"{"auths": {"r.example.com": {"auth": "dTpw"}, "plain.example.com": {"auth": "dTpw"}},
        "credHelpers": {"r.example.com": "own", "plain.example.com": ""}, "credsStore": "store"}"#;
    for (case, config, registry, expected) in [
        ("C01", r#"{"credsStore": "ecr-login"}"#, "r.example.com", Found::Helper("ecr-login", "r.example.com")),
        ("helper", all, "r.example.com", Found::Helper("own", "r.example.com")),
        ("helper without a name", all, "plain.example.com", Found::Password("u", "p")),
        ("store", all, "other.example.com", Found::Helper("store", "other.example.com")),
        ("store before file", r#"{"auths": {"r": {"auth": "dTpw"}}, "credsStore": "s"}"#, "r", Found::Helper("s", "r")),
        ("empty store", r#"{"auths": {"r": {"auth": "dTpw"}}, "credsStore": ""}"#, "r", Found::Password("u", "p")),
        ("all null", r#"{"auths": null, "credHelpers": null, "credsStore": null}"#, "r", Found::Nothing),
        ("null helper", r#"{"credHelpers": {"r": null}, "credsStore": "s"}"#, "r", Found::Nothing),
        ("no file's text", " \n", "r", Found::Nothing),
        ("C12", r#"{"credHelpers": {"*.example.com": "own"}}"#, "r.example.com", Found::Nothing),
        ("Docker's own", r#"{"credsStore": "s"}"#, HUB, Found::Helper("s", "https://index.docker.io/v1/")),
        ("as podman", r#"{"credHelpers": {"docker.io": "h"}}"#, HUB, Found::Helper("h", "docker.io")),
    ] {
        check(case, config, registry, "team/i", expected);
    }
}

/// Each with what Go 1.26's `encoding/json` makes of it, with which Docker's client reads the file.
#[test]
fn field_names_of_the_credentials_file_are_matched_as_go_does() {
    let password = Found::Password("u", "p");
    for (case, config, expected) in [
        ("any case", r#"{"Auths": {"r": {"AUTH": "dTpw"}}}"#, password),
        ("any case, pair", r#"{"AUTHS": {"r": {"UserName": "u", "PassWord": "p"}}}"#, password),
        ("any case, token", r#"{"auths": {"r": {"identityToken": "t"}}}"#, Found::Token("t", None)),
        ("any case, store", r#"{"CREDSSTORE": "s"}"#, Found::Helper("s", "r")),
        ("any case, helper", r#"{"credhelpers": {"r": "h"}}"#, Found::Helper("h", "r")),
        ("registries are compared exactly", r#"{"auths": {"R": {"auth": "dTpw"}}}"#, Found::Nothing),
        ("a letter that is one of ASCII", "{\"auth\u{17f}\": {\"r\": {\"auth\": \"dTpw\"}}}", password),
        ("the last counts", r#"{"credsStore": "a", "CredsStore": "s"}"#, Found::Helper("s", "r")),
        ("null is no last one", r#"{"CredsStore": "s", "credsStore": null}"#, Found::Helper("s", "r")),
        ("the last of equal names", r#"{"credsStore": "a", "credsStore": "s"}"#, Found::Helper("s", "r")),
        ("maps add up", r#"{"auths": {"r": {"auth": "dTpw"}}, "Auths": {"b": {"auth": "eDp5"}}}"#, password),
        ("entries do not", r#"{"auths": {"r": {"username": "x"}}, "Auths": {"r": {"auth": "dTpw"}}}"#, password),
        (
            "entries of equal names do not",
            r#"{"auths": {"r": {"username": "u"}, "r": {"password": "p"}}}"#,
            Found::Nothing,
        ),
        ("null empties a map", r#"{"auths": {"r": {"auth": "dTpw"}}, "Auths": null}"#, Found::Nothing),
        ("last in an entry", r#"{"auths": {"r": {"auth": "eDp5", "Auth": "dTpw", "AUTH": null}}}"#, password),
        ("helper taken back", r#"{"credHelpers": {"r": "x"}, "credhelpers": {"r": null}}"#, Found::Nothing),
        ("no other spelling", r#"{"creds_store": "x", "creds-store": "y"}"#, Found::Nothing),
    ] {
        check(case, config, "r", "team/i", expected);
    }
}

#[test]
fn the_most_specific_key_of_the_credentials_file_wins() {
    let file = |keys: &[(&str, &str)]| {
        let auths: BTreeMap<_, _> =
            keys.iter().map(|(key, user)| (key, serde_json::json!({ "username": user, "password": "p" }))).collect();
        serde_json::json!({ "auths": auths }).to_string()
    };
    let parts = [("r.example.com/a", "a"), ("r.example.com/a/b", "b"), ("r.example.com", "all")];
    let hub = [("https://index.docker.io/v1/", "docker"), ("docker.io", "podman")];
    for (case, keys, registry, repository, user) in [
        ("C06", &hub[1..], HUB, "team/i", Some("podman")),
        ("C06 next to Docker's", &hub[..], HUB, "team/i", Some("docker")),
        ("C06 of a part", &[("docker.io/team", "t")][..], HUB, "team/i", Some("t")),
        ("another name", &[("https://registry-1.docker.io/v1/", "x")][..], HUB, "team/i", None),
        ("C09", &[("[fd00::1]:5000", "v6")][..], "[fd00::1]:5000", "team/i", Some("v6")),
        ("C09, another port", &[("[fd00::1]:5001", "v6")][..], "[fd00::1]:5000", "team/i", None),
        ("C09, no port", &[("https://[fd00::1]/v2/", "v6")][..], "[fd00::1]", "team/i", Some("v6")),
        ("C10", &parts[..], "r.example.com", "a/b/i", Some("b")),
        ("C10, shorter", &parts[..], "r.example.com", "a/bc/i", Some("a")),
        ("C10, none", &parts[..], "r.example.com", "c/i", Some("all")),
        ("C10, the image itself", &[("r.example.com/a/i", "i")][..], "r.example.com", "a/i", Some("i")),
        ("C10, only others, as Docker", &parts[..2], "r.example.com", "c/i", Some("a")),
        ("as a URL", &[("https://r.example.com/v2/", "u")][..], "r.example.com", "v2x/i", Some("u")),
        ("old", &[("http://r.example.com/v1", "u"), ("r.example.com", "x")][..], "r.example.com", "i", Some("x")),
        ("another port", &[("r.example.com:443", "u")][..], "r.example.com", "i", None),
        ("another registry", &[("xr.example.com", "u"), ("example.com", "u")][..], "r.example.com", "i", None),
    ] {
        let expected = user.map_or(Found::Nothing, |user| Found::Password(user, "p"));
        check(case, &file(keys), registry, repository, expected);
    }
    // One that holds nothing is passed over.
    let config = r#"{"auths": {"r": {}, "https://r/v1/": {"auth": "dTpw"}, "r/i": null}}"#;
    check("empty", config, "r", "i", Found::Password("u", "p"));
}

#[test]
fn a_damaged_credentials_file_is_refused_without_being_shown() {
    for bad in
        ["7", "{", r#"{"auths": 7}"#, r#"{"auths": {"r": {"auth": ["secret"]}}}"#, "{} {}", r#"{"Auths": ["secret"]}"#]
    {
        assert!(!Config::read(bad.as_bytes()).map(drop).unwrap_err().contains("secret"), "{bad}");
    }
    for bad in ["!!", "c2VjcmV0", "OnNlY3JldA==", "/zo="] {
        let config = format!(r#"{{"auths": {{"r": {{"auth": "{bad}"}}, "s": {{"auth": "dTpw"}}}}}}"#);
        let config = Config::read(config.as_bytes()).unwrap();
        assert!(!config.entry("r", "i").unwrap_err().contains("secret"), "{bad}");
        // The others are none the worse.
        assert!(config.entry("s", "i").unwrap().is_some());
    }
}
