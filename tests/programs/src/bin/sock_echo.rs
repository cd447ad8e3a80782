//# tcplisten: ping over a socket\n
//# stdout: echoed 19 bytes\n
//# nondeterministic: talks to a real peer
//! Accepts one connection and sends back all that it receives, until the peer is done.

const LISTENER: wasi::Fd = 3;
const CHUNK_BYTES: usize = 8;

fn main() {
    // SAFETY: the crate passes pointers to live values only; vectors point to live buffers.
    unsafe {
        let stat = wasi::fd_fdstat_get(LISTENER).expect("a status");
        assert_eq!(stat.fs_filetype, wasi::FILETYPE_SOCKET_STREAM);
        let peer = wasi::sock_accept(LISTENER, 0).expect("a connection");
        let mut buf = [0u8; CHUNK_BYTES];
        let peek = wasi::sock_recv(peer, &[into(&mut buf[..1])], wasi::RIFLAGS_RECV_PEEK);
        assert_eq!(peek, Ok((1, 0)));
        let peeked = buf[0];

        let mut total = 0;
        loop {
            let (count, _) = wasi::sock_recv(peer, &[into(&mut buf)], 0).expect("can receive");
            if count == 0 {
                break;
            }
            assert!(total > 0 || buf[0] == peeked, "peeking does not take");
            let mut sent = 0;
            while sent < count {
                let rest = wasi::Ciovec { buf: buf[sent..].as_ptr(), buf_len: count - sent };
                sent += wasi::sock_send(peer, &[rest], 0).expect("can send");
            }
            total += count;
        }
        wasi::sock_shutdown(peer, wasi::SDFLAGS_WR).expect("can shut down");
        wasi::fd_close(peer).expect("can close");
        assert_eq!(wasi::sock_shutdown(peer, wasi::SDFLAGS_RD), Err(wasi::ERRNO_BADF));
        assert!(wasi::sock_accept(1, 0).is_err(), "stdout does not listen");
        assert!(wasi::sock_recv(99, &[into(&mut buf)], 0).is_err());
        println!("echoed {total} bytes");
    }
}

fn into(buf: &mut [u8]) -> wasi::Iovec {
    wasi::Iovec { buf: buf.as_mut_ptr(), buf_len: buf.len() }
}
