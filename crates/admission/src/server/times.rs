//! How long the largest configurations take, from the first byte of a connection to the last: for people, by `cargo xtask bench core`.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use extension_config::limits;
use serde_json::{Value, json};

use super::tests::{Webhook, review_of};

/// Reviews for each row.
const REVIEWS: usize = 500;

/// One of balloon types, just below what one configuration may have.
fn dense() -> String {
    let mut text =
        "policy:\n  Active: balloons\n  ReservedResources: {CPU: 1}\n  balloons:\n    BalloonTypes:\n".to_owned();
    let mut line = String::new();
    for index in 0.. {
        line.clear();
        writeln!(line, "    - {{Name: type-{index}, MinCPUs: 0, MaxCPUs: 1, Namespaces: [namespace-{index}]}}")
            .unwrap();
        if text.len() + line.len() > limits::CONFIGURATION_BYTES - 2048 {
            break;
        }
        text += &line;
    }
    text
}

#[tokio::test]
#[ignore = "a measurement: run by `cargo xtask bench core`"]
async fn of_the_largest_reviews() {
    let text = dense();
    let config = json!({ "configs": { "fallback": text, "group.a": text, "group.b": text, "group.c": text } });
    let review = review_of(&config);
    let start = Instant::now();
    for _ in 0..4 {
        drop(std::hint::black_box(serde_saphyr::from_str::<Value>(&text)));
    }
    let floor = start.elapsed();
    println!(
        "| reviews of {} KiB at once | median | p99 | slowest | YAML alone (floor) |\n|---|---|---|---|---|",
        review.len() / 1024
    );
    for at_once in [1, 2, 4] {
        let webhook = Webhook::start().await;
        let one = async || {
            let mut times = Vec::new();
            for _ in 0..REVIEWS / at_once {
                let start = Instant::now();
                let answer = webhook.post(&review).await.unwrap();
                times.push(start.elapsed());
                assert!(answer.contains(r#""allowed":true"#), "{answer}");
            }
            times
        };
        let mut times: Vec<Duration> = futures::future::join_all((0..at_once).map(|_| one())).await.concat();
        times.sort();
        let [median, high] = [50, 99].map(|percent| times[times.len() * percent / 100]);
        println!("| {at_once} | {median:.1?} | {high:.1?} | {:.1?} | {floor:.1?} |", times[times.len() - 1]);
    }
}
