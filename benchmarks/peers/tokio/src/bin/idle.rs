// SPDX-License-Identifier: MIT
//! An echo server on tokio that spends memory only on connections which have something to say: a buffer exists between
//! two awaits, never during one. Prints its port.
use std::io::ErrorKind;
use tokio::net::{TcpListener, TcpStream};
use weft_peer_tokio::*;

fn answer(stream: &TcpStream) -> std::io::Result<bool> {
    let mut buffer = [0; 4096];
    match stream.try_read(&mut buffer) {
        Ok(0) => Ok(false),
        // A message of this workload always fits into the socket's own buffer.
        Ok(n) => stream.try_write(&buffer[..n]).map(|sent| sent == n),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(e) => Err(e),
    }
}

async fn serve(stream: TcpStream) -> std::io::Result<()> {
    loop {
        stream.readable().await?;
        if !answer(&stream)? {
            return Ok(());
        }
    }
}

async fn listen() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("port\t{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream));
    }
}

fn main() -> std::io::Result<()> {
    run(listen())
}
