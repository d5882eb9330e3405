//! A TCP wire with faults, for a network that a test can cut.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

/// What a wire does to those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Passes everything on.
    None,
    /// Takes the connection and never says a word.
    Silent,
    /// Takes the connection and hangs up.
    HangsUp,
}

/// Listens on 127.0.0.1 and passes bytes on to another port there, until it is cut.
pub struct Wire {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
    ended: Arc<AtomicBool>,
}

impl Wire {
    /// A wire to `port`, with this fault.
    pub fn to(port: u16, fault: Fault) -> Wire {
        let door = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has free ports");
        let here = door.local_addr().expect("a listener has an address").port();
        let wire = Wire { port: here, open: Arc::default(), ended: Arc::default() };
        let (open, ended) = (wire.open.clone(), wire.ended.clone());
        thread::spawn(move || {
            while let Ok((near, _)) = door.accept() {
                if ended.load(SeqCst) {
                    return;
                }
                match fault {
                    Fault::HangsUp => drop(near),
                    Fault::Silent => open.lock().unwrap().push(near),
                    Fault::None => join(near, port, &open),
                }
            }
        });
        wire
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Hangs up on both sides of everything that goes over it now.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // Whoever hung up first makes this fail, and it is down then as well.
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.ended.store(true, SeqCst);
        self.cut();
        // Wakes the thread that accepts; if that fails, it is over already.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

fn join(near: TcpStream, port: u16, open: &Arc<Mutex<Vec<TcpStream>>>) {
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let twin = |stream: &TcpStream| stream.try_clone().expect("a socket can be had twice");
    open.lock().unwrap().extend([twin(&near), twin(&far)]);
    let (near_in, far_in) = (twin(&near), twin(&far));
    thread::spawn(move || pass(near_in, far));
    thread::spawn(move || pass(far_in, near));
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}
