//! A picture that is not valid XML is shown by no browser.

use std::path::Path;

#[test]
fn every_picture_of_the_docs_is_valid_xml() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut seen = 0;
    for entry in std::fs::read_dir(docs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(roxmltree::Document::parse(&text).err(), None, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 0, "there is no picture");
}
