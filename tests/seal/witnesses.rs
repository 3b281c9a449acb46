//! Witnesses (C2SP tlog-witness): every answer of the protocol, over HTTP too; a log that rolls back or forks gets none.

use crate::scratch::Scratch;
use crate::world::{NAME, Rows, Store, key, sealer, trust};
use evenkeel::cold::{ColdStore, DirectoryStore};
use evenkeel::ports::PortError;
use evenkeel::seal::{FileKey, Remote, Signer, Witness, Witnesses, serve_log, serve_witness, verify_log};
use evenkeel_schemas::audit::{Log, Note, ORIGIN, Trust, VerifierKey, base64};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

fn witness_key() -> FileKey {
    FileKey::new("example.org/w1", true, [77; 32]).unwrap()
}

fn witness(store: &Store) -> Witness {
    Witness::new(Box::new(store.clone()), Box::new(witness_key()), vec![key(1).key().clone()])
}

/// What a log asks a witness that saw `old` seals.
fn request(store: &Store, old: u64) -> String {
    let files = store.fetch();
    let log = Log::open(&files, &trust(1)).unwrap();
    let path = log.consistency(old).unwrap();
    let path = path.iter().map(|hash| base64(hash) + "\n").collect::<String>();
    format!("old {old}\n{path}\n{}", log.note)
}

fn grown(turns: u64) -> Store {
    let (store, mut rows) = (Store::default(), Rows::new());
    for _ in 0..turns {
        rows.grow(9);
        sealer(&store, 1).unwrap().turn(&mut rows, None).unwrap();
    }
    store
}

#[test]
fn a_witness_answers_as_the_specification_says() {
    let (small, large, state) = (grown(2), grown(5), Store::default());
    let mut witness = witness(&state);
    let mut status = |body: &str| witness.add_checkpoint(body, 1_800_000_000).status;
    let (first, second) = (request(&small, 0), request(&large, 4));
    assert_eq!(status(&second), 409, "it saw nothing yet");
    assert_eq!(status("old 0\nnonsense"), 400);
    assert_eq!(status(&first.replace("old 0", "old 00")), 400);
    assert_eq!(status(&first.replace("old 0", "old 5")), 400, "older than its checkpoint");
    assert_eq!(status(&first.replace(NAME, "example.com/other")), 404);
    assert_eq!(status(&first.replace(&format!("— {NAME}"), "— example.com/other")), 403);
    assert_eq!(status(&first), 200);
    assert_eq!(status(&first), 409, "it saw 4");
    assert_eq!(status(&request(&small, 4)), 200, "the same once more, for its age");
    let lines = second.lines().collect::<Vec<_>>();
    let wrong = second.replace(lines[1], &base64(&[5; 32]));
    assert_eq!(status(&wrong), 422);
    assert_eq!(status(&second), 200);
    assert_eq!(status(&request(&small, 4)), 409, "rolled back");

    let answer = witness.add_checkpoint(&request(&small, 4), 1_800_000_000);
    assert_eq!((answer.content_type, answer.body.as_str()), ("text/x.tlog.size", "10\n"));
    // What it remembers outlives it.
    let mut again = self::witness(&state);
    assert_eq!(again.add_checkpoint(&request(&small, 4), 1_800_000_000).status, 409);
    assert_eq!(again.add_checkpoint(&request(&large, 10), 1_800_000_000).status, 200);
}

#[test]
fn a_fork_of_the_same_size_gets_no_cosignature() {
    let (one, state, mut rows) = (grown(3), Store::default(), Rows::new());
    let other = Store::default();
    for count in [9, 9, 12] {
        rows.grow(count);
        sealer(&other, 1).unwrap().turn(&mut rows, None).unwrap();
    }
    let mut witness = witness(&state);
    assert_eq!(witness.add_checkpoint(&request(&one, 0), 1).status, 200);
    assert_eq!(witness.add_checkpoint(&request(&other, 6), 1).status, 409);
    rows.grow(9);
    sealer(&other, 1).unwrap().turn(&mut rows, None).unwrap();
    assert_eq!(witness.add_checkpoint(&request(&other, 6), 1).status, 422);
}

#[test]
fn a_witness_that_cannot_remember_does_not_sign() {
    let (log, state) = (grown(2), Store::default());
    state.fail_after(0, crate::Fault::Lost);
    assert_eq!(witness(&state).add_checkpoint(&request(&log, 0), 1).status, 503);
    state.mend();
    assert_eq!(witness(&state).add_checkpoint(&request(&log, 0), 1).status, 200);
}

fn listen<F: Future<Output = std::io::Result<()>> + Send + 'static>(server: impl FnOnce(TcpListener) -> F) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let server = server(socket);
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server)
    });
    url
}

#[test]
fn over_http_a_log_is_served_witnessed_and_verified() {
    let (scratch, memory) = (Scratch::new(), grown(4));
    let store = DirectoryStore::open(&scratch.0).unwrap();
    memory.files().iter().for_each(|(name, bytes)| store.put(name, bytes).unwrap());
    store.put("secret", b"nobody's business").unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let boxed: Box<dyn ColdStore> = Box::new(DirectoryStore::read_only(&scratch.0));
    let log_url = listen(|socket| {
        serve_log(socket, Arc::new(Mutex::new(boxed)), move |name, _| seen.lock().unwrap().push(name.to_owned()))
    });
    let witness_url = listen(|socket| serve_witness(socket, witness(&Store::default())));

    let remote = Remote::new(&log_url);
    let log = Log::open(&remote, &trust(1)).unwrap();
    assert_eq!(verify_log(&log, ORIGIN).unwrap().seals, 8);
    assert!(asked.lock().unwrap().iter().any(|name| name == "tile/0/000.p/8"));
    for name in ["secret", "lock", "tile/../secret", "tile//secret", "checkpoint/x"] {
        assert_eq!(evenkeel_schemas::audit::Fetch::fetch(&remote, name), Ok(None), "{name}");
    }

    let mut witnesses = Witnesses::new(vec![(witness_url, witness_key().key().clone())]);
    let (_, signature) = witnesses.ask(&log).pop().unwrap();
    let note = Witnesses::add(&log.note, vec![signature.unwrap()]);
    let trusting = |witness: VerifierKey| Trust::new(key(1).key().clone(), vec![witness], 1).unwrap();
    let trusted = trusting(witness_key().key().clone()).check(&note).unwrap();
    assert!(trusted.cosigned_s[0] > 1_700_000_000);
    let stranger = FileKey::new("example.org/w1", true, [78; 32]).unwrap();
    assert!(trusting(stranger.key().clone()).check(&note).is_err());
    assert_eq!(note.to_string().parse::<Note>().unwrap(), note);

    // The same witness, asked by a log that was rolled back.
    let rolled_back = grown(3);
    let files = rolled_back.fetch();
    let log = Log::open(&files, &trust(1)).unwrap();
    let (_, answer) = witnesses.ask(&log).pop().unwrap();
    assert!(matches!(&answer, Err(PortError::Fatal(why)) if why.contains("rolled back")), "{answer:?}");
}
