//! Targets that are not what a target should be.

use super::*;

/// russh takes whatever channels a server opens, unless it is told not to.
#[tokio::test]
async fn a_target_that_opens_channels_to_us_is_hung_up_on() {
    use russh::server;

    struct Hostile;
    impl server::Handler for Hostile {
        type Error = russh::Error;

        async fn auth_publickey(
            &mut self,
            _: &str,
            _: server::VerifiedPublicKey<'_>,
        ) -> Result<server::Auth, russh::Error> {
            Ok(server::Auth::Accept)
        }

        async fn channel_open_session(
            &mut self,
            _: Channel<server::Msg>,
            reply: server::ChannelOpenHandle,
            _: &mut server::Session,
        ) -> Result<(), russh::Error> {
            reply.accept().await;
            Ok(())
        }
    }

    for kind in 0..3 {
        let mut bench = Bench::silent();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        bench.port = listener.local_addr().unwrap().port();
        let key = bench.vault.load("other").unwrap();
        let line = KnownHosts::line("127.0.0.1", bench.port, key.public_key());
        let config = server::Config { keys: vec![key], ..server::Config::default() };
        let (tell, told) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let running = server::run_stream(Arc::new(config), stream, Hostile).await.unwrap();
            tell.send(running.handle()).ok();
            running.await
        });
        let mut dialled = bench.trusting(&line).dial().await.unwrap();
        let target = told.await.unwrap();

        let opened = match kind {
            0 => target.channel_open_session().await,
            1 => target.channel_open_forwarded_tcpip("a", 1, "b", 2).await,
            _ => target.channel_open_agent().await,
        };
        assert!(opened.is_err(), "kind {kind} is taken");
        while dialled.channel.wait().await.is_some() {}
        assert!(dialled.handle.is_closed(), "kind {kind}");
    }
}

/// What an sshd of before 2023 offers: no strict key exchange, and a cipher whose messages can be dropped unseen.
#[tokio::test]
async fn a_target_without_strict_key_exchange_is_opened_only_with_gcm() {
    use russh::{cipher, kex, server};

    struct Old;
    impl server::Handler for Old {
        type Error = russh::Error;
    }
    for (cipher, is_refused) in [(cipher::AES_256_CTR, true), (cipher::AES_256_GCM, false)] {
        let mut bench = Bench::silent();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        bench.port = listener.local_addr().unwrap().port();
        let key = bench.vault.load("other").unwrap();
        let line = KnownHosts::line("127.0.0.1", bench.port, key.public_key());
        let config = server::Config {
            keys: vec![key],
            preferred: Preferred {
                kex: Cow::Borrowed(&[kex::CURVE25519]),
                cipher: vec![cipher].into(),
                ..Ssh::default().preferred()
            },
            ..server::Config::default()
        };
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            server::run_stream(Arc::new(config), stream, Old).await.unwrap().await
        });

        let problem = bench.trusting(&line).problem().await;
        // With GCM it goes on, to a login that this server refuses.
        let refused = matches!(problem, DialProblem::Terrapin);
        assert_eq!(refused, is_refused, "{problem}");
        assert!(refused || matches!(problem, DialProblem::LoginRefused { .. }), "{problem}");
    }
}
