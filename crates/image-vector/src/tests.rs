use std::error::Error as _;

use super::*;

fn vector(text: &str) -> ImageVector {
    ImageVector(parse("test", text).unwrap())
}

fn request(version: Option<&'static str>, architecture: &'static str) -> Request<'static> {
    Request { name: "a", runtime_version: version, target_version: version, architecture }
}

#[test]
fn the_built_in_vector_has_our_images() {
    let vector = ImageVector::load(None).unwrap();
    for name in [extension_config::names::INSTALLATION_IMAGE, extension_config::names::CONTROLLER_NAME] {
        let found = vector.find(Request { name, ..request(Some("1.33.2"), "amd64") }).unwrap();
        assert!(found.starts_with(&format!("{name}:")), "{found}");
    }
}

#[test]
fn references_are_built_from_every_form_of_an_entry() {
    for (fields, expected) in [
        ("ref: r.io/x@sha256:00", "r.io/x@sha256:00"),
        ("repository: r.io/x", "r.io/x:v1.33.2"),
        ("repository: r.io/x\n  tag: v1", "r.io/x:v1"),
        ("repository: r.io/x\n  tag: sha256:00", "r.io/x@sha256:00"),
        ("repository: r.io/x\n  tag: v1@sha256:00", "r.io/x:v1@sha256:00"),
    ] {
        let vector = vector(&format!("images:\n- name: a\n  labels: [ignored]\n  {fields}\n"));
        assert_eq!(vector.find(request(Some("v1.33.2"), "amd64")).unwrap(), expected);
    }
    let bare = vector("images: [{name: a, repository: x}]");
    assert_eq!(bare.find(request(None, "amd64")).unwrap(), "x");
}

#[test]
fn the_most_specific_entry_wins() {
    let vector = vector(
        "images:
- {name: a, ref: any}
- {name: a, ref: second}
- {name: a, ref: arm, architectures: [arm64]}
- {name: a, ref: range, targetVersion: '>= 1.30', architectures: [amd64]}
- {name: a, ref: exact, targetVersion: '1.31.2', architectures: [amd64]}
- {name: a, ref: both, targetVersion: '>= 1.32', runtimeVersion: '>= 1.32', architectures: [amd64, arm64]}
",
    );
    for (version, architecture, expected) in [
        (Some("1.20.0"), "amd64", "any"),
        (Some("1.30.0"), "amd64", "range"),
        (Some("1.31.2"), "amd64", "exact"),
        (Some("1.32.0"), "amd64", "range"),
        (Some("1.32.0"), "arm64", "both"),
        (Some("1.20.0"), "arm64", "arm"),
    ] {
        assert_eq!(vector.find(request(version, architecture)).unwrap(), expected, "{version:?} {architecture}");
    }
    let error = vector.find(request(None, "riscv64")).unwrap_err();
    assert_eq!(error.to_string(), "no image a for runtime version \"\", target version \"\" and architecture riscv64");
}

#[test]
fn overrides_merge_by_key_and_field() {
    let base = "images: [{name: a, repository: r, tag: v1}, {name: b, ref: x}, {name: c, repository: r, tag: v1, targetVersion: '>= 1.30'}]";
    let overrides = "images: [{name: a, repository: s}, {name: b, repository: t}, {name: c, ref: d}]";
    let merged = merge(parse("t", base).unwrap(), parse("t", overrides).unwrap());
    let expected = "images: [{name: a, repository: s, tag: v1}, {name: b, repository: t}, {name: c, repository: r, tag: v1, targetVersion: '>= 1.30'}, {name: c, ref: d}]";
    assert_eq!(merged, parse("t", expected).unwrap());
}

#[test]
fn an_invalid_image_vector_file_is_named_with_the_reason() {
    let directory = std::env::temp_dir();
    for (text, expected) in [
        ("images: [{repository: x}]", "images[0].name: must not be empty"),
        ("images: [{name: a}]", "image \"a\" needs ref or repository"),
        ("images: [{name: a, ref: x, tag: y}]", "images[0].ref: excludes repository and tag"),
        (
            "images: [{name: a, ref: x}, {name: b, repository: x, tag: ''}]",
            "images[1].tag: must not be empty where it is given",
        ),
        (
            "images: [{name: a, ref: x, targetVersion: new}]",
            "images[0].targetVersion: \"new\" is not a version constraint",
        ),
    ] {
        let path = directory.join(format!("image-vector-{}-{:x}.yaml", std::process::id(), text.len()));
        std::fs::write(&path, text).unwrap();
        let error = ImageVector::load(Some(&path)).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(error.to_string(), format!("{}: {expected}", path.display()));
    }
    let missing = ImageVector::load(Some(Path::new("/nonexistent/images.yaml"))).unwrap_err();
    assert_eq!(missing.to_string(), "read the image vector override /nonexistent/images.yaml");
    let malformed = parse("test", "images: 7").unwrap_err().into_first();
    assert_eq!(malformed.to_string(), "test is not an image vector");
    assert!(malformed.source().unwrap().to_string().contains("line 1"), "{malformed:?}");
}

/// Field case D11.
#[test]
fn an_empty_override_changes_nothing() {
    for text in ["", "# nothing\n", "images:\n", "images: []\n", "{}\n"] {
        assert_eq!(ImageVector::overridden("test", text).unwrap(), ImageVector::load(None).unwrap(), "{text:?}");
    }
}

/// Field case D01.
#[test]
fn tags_stay_as_written_in_yaml() {
    for tag in ["1.10", "20240101", "1234567e8", "0x10", "true"] {
        let vector = vector(&format!("images: [{{name: a, repository: r, tag: {tag}}}]"));
        assert_eq!(vector.find(request(None, "amd64")).unwrap(), format!("r:{tag}"));
    }
}

#[test]
fn every_fault_of_an_image_vector_is_reported() {
    let errors =
        ImageVector::overridden("t", "images: [{name: ''}, {name: a, ref: x}, {name: b, tag: ''}]").unwrap_err();
    let reported: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        reported,
        ["t: images[0].name: must not be empty", "t: images[2].tag: must not be empty where it is given"]
    );
}
