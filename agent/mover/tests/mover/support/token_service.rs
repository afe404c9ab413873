//! Amazon's service that gives keys for the token of a ServiceAccount, as the mover's tests and the end-to-end tests meet it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};

/// Serves at this address until the test ends, and gives these keys to everybody. Returns where it is, and what it is asked.
pub(crate) fn token_service(address: IpAddr, key: &str, secret: &str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (asked, receiver) = mpsc::channel();
    let answer = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>session</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            if asked.send(String::from_utf8(body).unwrap()).is_err() {
                return;
            }
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            stream.write_all((head + &answer).as_bytes()).unwrap();
        }
    });
    (endpoint, receiver)
}
