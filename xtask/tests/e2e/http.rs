//! As much HTTP as a Kubernetes client needs of a server: one request per connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::{Value, json};

/// A request with a JSON body, or none.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// An answer: a status and an object, or a text.
#[derive(Debug)]
pub(crate) enum Answer {
    Object(u16, Value),
    Text(String),
}

impl Answer {
    /// A refusal as the API words it.
    pub(crate) fn refuse(code: u16, reason: &str, message: &str) -> Self {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "code": code, "reason": reason, "message": message,
        });
        Self::Object(code, status)
    }
}

/// Serves on a port of the loopback device until the process ends, and gives its URL.
pub(crate) fn serve(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            // A client that goes away is no business of ours.
            std::thread::spawn(move || drop(converse(&stream.unwrap(), &*answer)));
        }
    });
    url
}

fn converse(mut stream: &TcpStream, answer: &dyn Fn(&Request) -> Answer) -> std::io::Result<()> {
    let Some(request) = read(stream)? else { return Ok(()) };
    let (code, kind, body) = match answer(&request) {
        Answer::Object(code, object) => (code, "application/json", object.to_string()),
        Answer::Text(text) => (200, "text/plain", text),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {code} x\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}");
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())
}

fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim().split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Some(Request { method, path, body: serde_json::from_slice(&body).unwrap_or_default() }))
}
