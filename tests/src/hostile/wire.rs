//! HTTP as a hostile provider speaks it: one request to a connection, and any kind of answer.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::Value;

use super::fault::{How, TAINT};

/// Nobody here sends more.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Longer than any client of ours waits: who still holds a connection then has a bug.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request, as far as a provider cares.
pub struct Asked {
    pub path: String,
    pub form: String,
}

impl Asked {
    /// A field of the form. What we read from it needs no percent-encoding.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// What is answered.
pub enum Answer {
    Json(u16, Value),
    /// With these bytes as JSON, which it need not be.
    Raw(String),
    /// 429, and to come again in so many seconds.
    Later(u32),
    Wrong(How),
}

/// Reads one request; `None` if there is none.
pub fn read(line: &mut TcpStream) -> Option<Asked> {
    line.set_read_timeout(Some(PATIENCE)).ok()?;
    let (mut heard, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, form)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if form.len() >= length.unwrap_or(0) {
                let path = head.split(' ').nth(1)?.split('?').next()?.to_owned();
                return Some(Asked { path, form: form.to_owned() });
            }
        }
        match line.read(&mut part) {
            Ok(count @ 1..) if heard.len() < REQUEST_BYTES_MAX => heard.extend_from_slice(&part[..count]),
            _ => return None,
        }
    }
}

/// Answers, and adds to `sent` what the client took. A client that leaves is what most of these answers are about.
pub fn write(line: &mut TcpStream, answer: Answer, sent: &AtomicU64) -> io::Result<()> {
    let page = format!("<html>{TAINT}\u{1b}]52;c;{TAINT}\u{7}</html>");
    let retry_after;
    let (status, more, body) = match answer {
        Answer::Later(seconds) => {
            retry_after = format!("Retry-After: {seconds}\r\n");
            (429, retry_after.as_str(), String::new())
        }
        Answer::Json(status, value) => (status, "Content-Type: application/json\r\n", value.to_string()),
        Answer::Raw(body) => (200, "Content-Type: application/json\r\n", body),
        Answer::Wrong(How::Cut) => return Ok(()),
        Answer::Wrong(How::Silence) => return until_gone(line),
        Answer::Wrong(How::Troubled) => (503, "Content-Type: text/html\r\n", page),
        Answer::Wrong(How::Missing) => (404, "Content-Type: text/html\r\n", page),
        Answer::Wrong(How::Html) => (200, "Content-Type: text/html\r\n", page),
        Answer::Wrong(How::Elsewhere) => (302, "Location: /elsewhere\r\n", String::new()),
        Answer::Wrong(how @ (How::Endless | How::Trickle)) => {
            line.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{",
            )?;
            return match how {
                How::Endless => endless(line, sent),
                _ => trickle(line, sent),
            };
        }
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    line.write_all((head + &body).as_bytes())?;
    sent.fetch_add(length as u64, Ordering::Relaxed);
    Ok(())
}

fn endless(line: &mut TcpStream, sent: &AtomicU64) -> io::Result<()> {
    let part = [b' '; 64 * 1024];
    loop {
        sent.fetch_add(line.write(&part)? as u64, Ordering::Relaxed);
    }
}

fn trickle(line: &mut TcpStream, sent: &AtomicU64) -> io::Result<()> {
    line.set_read_timeout(Some(Duration::from_secs(1)))?;
    loop {
        sent.fetch_add(line.write(b" ")? as u64, Ordering::Relaxed);
        match line.read(&mut [0]) {
            Ok(0) => return Ok(()),
            Err(fault) if !matches!(fault.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(fault);
            }
            _ => {}
        }
    }
}

fn until_gone(line: &mut TcpStream) -> io::Result<()> {
    while line.read(&mut [0; 64])? > 0 {}
    Ok(())
}
