//! Sign-ins at a provider that lies, floods and hangs, one fault at a time: what the person is told, what the log says,
//! and what neither of them ever holds.

use ::tests::hostile::{Fault, Hostile, How, Place, TAINT};

use super::{with_provider::Captured, *};

mod people;
mod refreshes;
mod storms;

/// What a body without end may cost: the client's megabyte for each request, and what lies in the sockets' buffers.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Two answers may be waited for in a row, 10 s each; a machine with much to do is slower.
const TIME_MAX: Duration = Duration::from_secs(60);

/// A bench whose clock shows what the provider's does.
pub(super) fn bench_at(provider: &Hostile, now: i64) -> Bench {
    let bench = Bench::with(Settings::new(provider.issuer().into(), "bastion".into()));
    bench.now.store(now, Ordering::Relaxed);
    bench
}

/// Answers as stock OpenSSH does until the method ends; gives back each text that was shown.
pub(super) async fn sign_in(caller: &mut SignIn, user: &str) -> (Vec<String>, InteractiveAnswer) {
    let (mut shown, mut given) = (Vec::new(), None);
    for _ in 0..100 {
        match caller.interactive(user, given).await {
            InteractiveAnswer::Ask(question) => {
                let prompts = question.prompts.iter().map(|(text, _)| text.as_str());
                let text: String = [question.instructions.as_str()].into_iter().chain(prompts).collect();
                shown.extend(Some(text).filter(|text| !text.is_empty()));
                given = Some(vec![String::new(); question.prompts.len()]);
            }
            end => return (shown, end),
        }
    }
    panic!("no end after 100 rounds; shown: {shown:?}");
}

/// What one sign-in at a provider with a fault came to.
struct Met {
    shown: Vec<String>,
    end: InteractiveAnswer,
    log: String,
    took: Duration,
    provider: Hostile,
}

/// Signs in on a thread of its own, so that the log holds the lines of this sign-in alone.
fn meet(fault: Fault) -> Met {
    let captured = Captured::default();
    let writer = captured.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = std::time::Instant::now();
    let now = Clock::system().now();
    let provider = Hostile::start(fault, now);
    let (shown, end) = tracing::subscriber::with_default(log, || {
        runtime.block_on(async {
            let bench = bench_at(&provider, now);
            let mut caller = bench.caller();
            caller.key_proven("alice", &key(1)).await;
            let (shown, end) = sign_in(&mut caller, "alice").await;
            let bound = bench.login.bindings.all(now).unwrap();
            assert_eq!(bound.len(), usize::from(matches!(end, InteractiveAnswer::Success(_))), "{fault:?}");
            (shown, end)
        })
    });
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    Met { shown, end, log, took: begun.elapsed(), provider }
}

/// What must come out: the sentence that the person reads, if she is not let in, and what the log says.
type Due = (Option<&'static str>, &'static str);

const IN: Due = (None, "bound=true");

fn due(fault: Fault) -> Due {
    let unproven = |logged| (Some(notice::NOT_PROVEN), logged);
    let unfit = |logged| (Some(notice::PROVIDER_UNFIT), logged);
    let unnamed = unproven("its claim \"preferred_username\" is no name that can be used here");
    let unreadable = unfit("the provider's answer cannot be read at ");
    let garbled = unproven("it is no signed token that can be read");
    let code = unfit("a user code that is more than letters, digits and dashes");
    let address = unfit("an address that is not https, or no plain address");
    match fault {
        Fault::At(place, how) => due_at(place, how),
        Fault::Nothing | Fault::SignsWithEcdsa | Fault::SignsWithEdDsa | Fault::AudienceListOfOne => IN,
        Fault::NameCapital | Fault::EmailUnverified | Fault::EmailWithControls => IN,
        Fault::IntervalZero | Fault::ValidHuge => IN,
        Fault::IssuerWrong => unproven("made by another issuer"),
        Fault::AudienceWrong | Fault::AudienceListWithoutAzp => unproven("meant for another audience"),
        Fault::AzpWrong => unproven("azp names another client"),
        Fault::Expired | Fault::ExpiryMissing => unproven("it has expired (exp), or does not say when"),
        Fault::NotYetValid => unproven("not valid yet (nbf)"),
        Fault::IssuedTomorrow => unproven("issued in the future (iat)"),
        Fault::SubjectEmpty | Fault::SubjectMissing | Fault::SubjectLong | Fault::SubjectWithControls => {
            unproven("its subject is empty, too long or no plain text")
        }
        Fault::SubjectTwice => unproven("its claims are no object that has each of them once"),
        Fault::IdTokenGarbled => garbled,
        Fault::PollBroken => unfit("cannot be read, under a name that is none of the protocol's"),
        Fault::NonceUnasked => unproven("it has a nonce that was not asked for"),
        Fault::AlgNone => unproven("it is not signed"),
        Fault::HmacWithPublicKey | Fault::AlgUnheardOf => {
            unproven("its algorithm is not among login.algorithms")
        }
        Fault::EcdsaUnderRsa | Fault::KeyUnknown | Fault::KeysNone => {
            unproven("its key is not among the provider's")
        }
        Fault::CriticalHeader | Fault::AccessToken => unproven("its header asks for what is not done here"),
        Fault::KeyTwice => unproven("more than one of the provider's keys has its key id"),
        Fault::IdTokenMissing => unproven("there is none"),
        Fault::SignatureStripped
        | Fault::SignatureOfAnother
        | Fault::KeyInHeader
        | Fault::KeyAddressInHeader
        | Fault::CertificateAddressInHeader => unproven("its signature is wrong"),
        Fault::NameMissing | Fault::NameNumber => unproven("it has no claim \"preferred_username\""),
        Fault::NameRoot | Fault::NameOfAnother => (Some(notice::NOT_HER_NAME), "signed in as another"),
        Fault::NameWithPercent | Fault::NameWithSlash | Fault::NameWithColon | Fault::NameWithControls => {
            unnamed
        }
        Fault::NameOfTwoScripts | Fault::NameLong => unnamed,
        Fault::GroupsNumber => unproven("its claim \"groups\" is no list of texts"),
        Fault::GroupsNested => unproven("its claim \"groups\" holds more than texts"),
        Fault::GroupsMany => unproven("its claim \"groups\" lists more than 500"),
        Fault::GroupsWithControls => {
            unproven("its claim \"groups\" has a text that is empty, too long or with control")
        }
        Fault::ClaimsHuge => unproven("its claims pass 64 KiB"),
        Fault::DiscoveryOfAnother => unfit("discovery names another issuer"),
        Fault::DiscoveryWithSlash => unfit("write it exactly so in the settings"),
        Fault::DeviceEndpointUnsafe | Fault::TokenEndpointUnsafe => {
            unfit("names an endpoint that is neither https nor loopback")
        }
        Fault::KeysAddressUnsafe => unfit("the address http://tainted.example is neither https nor loopback"),
        Fault::DeviceEndpointMissing => unfit("offers no device sign-in (RFC 8628)"),
        Fault::TokenEndpointMissing => unfit("names no token endpoint"),
        Fault::DeviceRefused => unfit("refuses to begin a device sign-in for this client: invalid_client"),
        Fault::DeviceRefusedOddly => unfit("for this client, with an error code that is no plain word"),
        Fault::IntervalNegative | Fault::ValidNegative => unreadable,
        Fault::IntervalHuge => unfit("it wants 1000000000 s between two polls"),
        Fault::ValidZero | Fault::SlowDown | Fault::NeverConfirmed => (Some(notice::EXPIRED), ""),
        Fault::CodeEscape
        | Fault::CodeClipboard
        | Fault::CodeNewline
        | Fault::CodeEmpty
        | Fault::CodeLong => code,
        Fault::AddressEscape | Fault::AddressClipboard | Fault::AddressNewline | Fault::AddressLong => {
            address
        }
        Fault::AddressFile | Fault::AddressScript | Fault::AddressUnsafe | Fault::AddressWithUser => address,
        Fault::CompleteClipboard | Fault::CompleteScript => address,
        Fault::PollRefused => unfit("the token endpoint refuses the poll: invalid_grant"),
        Fault::PollRefusedAtLength => unfit("refuses the poll, with an error code that is no plain word"),
    }
}

fn due_at(place: Place, how: How) -> Due {
    let down = |logged| (Some(notice::PROVIDER_DOWN), logged);
    let unfit = |logged| (Some(notice::PROVIDER_UNFIT), logged);
    match (place, how) {
        (_, How::Cut) => down(": broken off"),
        (_, How::Troubled) => down(" answers 503"),
        (_, How::Trickle | How::Silence) => down(": timed out"),
        (_, How::Endless) => unfit(" sends more than 1 MiB"),
        (Place::Discovery | Place::Keys, How::Missing) => {
            unfit("discovery, or the key set, answers with HTTP status 404")
        }
        (Place::Discovery | Place::Keys, How::Elsewhere) => {
            unfit("discovery, or the key set, answers with HTTP status 302")
        }
        (Place::Discovery | Place::Keys, How::Html) => unfit("discovery, or the key set, is no JSON"),
        (Place::Device | Place::Token, How::Missing) => unfit("the provider's answer cannot be read at"),
        (Place::Device | Place::Token, How::Elsewhere | How::Html) => {
            unfit("the provider's answer is none of the protocol's")
        }
    }
}

#[test]
fn each_fault_of_a_provider_is_told_in_a_fixed_sentence_and_named_in_the_log() {
    let met: Vec<(Fault, Met)> = std::thread::scope(|scope| {
        let begun: Vec<_> =
            Fault::all().into_iter().map(|fault| (fault, scope.spawn(move || meet(fault)))).collect();
        begun.into_iter().map(|(fault, done)| (fault, done.join().unwrap())).collect()
    });

    let mut wrong = Vec::new();
    for (fault, met) in &met {
        wrong.extend(complaints(*fault, met).into_iter().map(|what| format!("{fault:?} {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What of this is not as it must be.
fn complaints(fault: Fault, met: &Met) -> Vec<String> {
    let Met { shown, end, log, took, provider } = met;
    let (sentence, logged) = due(fault);
    let mut wrong = Vec::new();
    let mut must = |right: bool, what: String| wrong.extend((!right).then_some(what));

    match (sentence, end) {
        (None, InteractiveAnswer::Success(principal)) => {
            must(
                principal.name.as_str() == "alice" && principal.subject == "7f3a",
                format!("lets in {principal:?}"),
            );
            let confirmed = !matches!(fault, Fault::EmailUnverified | Fault::EmailWithControls);
            must(principal.email.is_some() == confirmed, format!("e-mail {:?}", principal.email));
        }
        (Some(sentence), InteractiveAnswer::Failure) => {
            let last = shown.last().map(String::as_str).unwrap_or_default();
            must(last == format!("{sentence} Press Enter: "), format!("is told {last:?}"));
        }
        _ => must(false, format!("ends with {end:?}; log: {log}")),
    }
    must(log.contains(logged), format!("does not say {logged:?} in the log: {log}"));

    let spoken = shown.concat() + &log.replace(logged, "");
    let controls = |c: char| c.is_control() && c != '\n';
    must(!spoken.contains(TAINT) && !spoken.contains(controls), format!("lets its text through: {spoken:?}"));
    for secret in provider.secrets() {
        let end = secret.rsplit('.').next().unwrap_or_default();
        must(end.is_empty() || !spoken.contains(end), format!("tells the secret {secret}"));
    }
    must(provider.asked("/elsewhere") == 0, "leads elsewhere".into());
    must(provider.bytes_sent() < BYTES_MAX, format!("makes one read {} bytes", provider.bytes_sent()));
    must(*took < TIME_MAX, format!("takes {took:?}"));
    let polls = provider.asked("/token");
    match fault {
        // Each second of the four, and not at once.
        Fault::NeverConfirmed => must((1..=4).contains(&polls), format!("is polled {polls} times in 4 s")),
        Fault::ValidHuge => {
            must(spoken.contains("is good for 5 minutes"), format!("is shown as good for ever: {spoken}"))
        }
        // After one second, and then not for six.
        Fault::SlowDown => must(polls == 1, format!("is polled {polls} times in 4 s")),
        _ => {}
    }
    wrong
}
