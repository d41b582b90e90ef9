//! A server that speaks as much HTTP as downloads and uploads need.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) range: Option<usize>,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Status, further headers, body.
pub(crate) type Answer = (u16, String, Vec<u8>);

/// Serves on loopback until the process ends; one request per connection.
pub(crate) fn serve(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    serve_at("127.0.0.1", answer)
}

pub(crate) fn serve_at(host: &str, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read(&stream);
            let (status, mut headers, body) = answer(&request);
            if !headers.contains("Content-Length") {
                headers = format!("{headers}Content-Length: {}\r\n", body.len());
            }
            let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            if request.method != "HEAD" {
                stream.write_all(&body).unwrap();
            }
        }
    });
    address
}

pub(crate) fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (mut range, mut length, mut authorization) = (None, 0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim().split_once(": ").map(|(name, value)| (name.to_lowercase(), value)) {
            None => break,
            Some((name, value)) if name == "range" => {
                range = value.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse().ok());
            }
            Some((name, value)) if name == "content-length" => length = value.parse().unwrap(),
            Some((name, value)) if name == "authorization" => authorization = Some(value.to_owned()),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Request { method, target, range, authorization, body }
}
