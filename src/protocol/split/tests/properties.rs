//! What holds for any bytes as a request and any as a broker's answer, checked by the unit tests
//! and by the fuzz target `split`.

use super::protocol::header;
use super::protocol::split::{Failure, FirstNeed, Needs, Outcome, Piece, Request, first_need};
use super::protocol::table::Route;
use super::protocol::wire::Unread;

/// Into how many pieces requests are parted.
const PIECES: usize = 3;

/// Checks a request's frame, without its length, and the body of an answer to it.
pub(super) fn check(frame: &[u8], answer: &[u8]) {
    let Ok(header) = header::read(frame, frame.len()) else {
        return;
    };
    let Some(api) = header
        .api
        .filter(|api| api.versions.contains(header.version))
    else {
        return;
    };
    let request = Request {
        api,
        version: header.version,
        frame,
        body_at: header.body_at,
    };
    first_key_is_that_of_the_whole(&request);
    if let Some(whole) = check_pieces(&request) {
        check_answers(&request, &whole, answer);
    }
}

fn first_key_is_that_of_the_whole(request: &Request<'_>) {
    let first = |arrived: usize| {
        let bytes = &request.frame[..arrived];
        let (api, version) = (request.api, request.version);
        first_need(api, version, bytes, request.frame.len(), request.body_at)
    };
    let known = first(request.frame.len());
    assert_ne!(known, Err(Unread::Incomplete), "nothing more will come");
    for arrived in [0, request.body_at, request.frame.len() / 2] {
        let some = first(arrived.min(request.frame.len()));
        assert!(
            some == Err(Unread::Incomplete) || some == known,
            "{some:?} before {known:?}"
        );
    }
    match (request.needs(), known) {
        (Ok(Needs::Leaders(keys)), Ok(FirstNeed::Leader(first))) => assert_eq!(keys[0], first),
        (Ok(Needs::Coordinators(_, keys)), Ok(FirstNeed::Coordinator(_, first))) => {
            assert_eq!(keys[0], first);
        }
        (Ok(Needs::Nodes(nodes)), Ok(FirstNeed::Node(first))) => {
            assert_eq!(nodes.into_iter().flatten().next(), Some(first));
        }
        (Ok(Needs::Nodes(nodes)), Ok(FirstNeed::Any)) => {
            assert_eq!(nodes.into_iter().flatten().next(), None);
        }
        (Ok(Needs::Any), Ok(FirstNeed::Any)) | (Ok(Needs::All), Ok(FirstNeed::All)) => {}
        (Ok(Needs::FetchSession), Ok(_)) | (Err(_), _) => {}
        (whole, first) => panic!("{whole:?} begins with {first:?}"),
    }
}

/// The keys of each piece, if the request can be parted.
fn check_pieces(request: &Request<'_>) -> Option<Vec<Vec<usize>>> {
    let needs = request.needs().ok()?;
    let count = match &needs {
        Needs::Leaders(keys) => keys.len(),
        Needs::Coordinators(_, keys) => keys.len(),
        Needs::Nodes(keys) => keys.len(),
        Needs::All | Needs::Any | Needs::FetchSession => 0,
    };
    let assignment: Vec<_> = (0..count).map(|key| key * 7 % PIECES).collect();
    let pieces = request.split(&assignment, PIECES).ok()?;
    assert_eq!(pieces.len(), PIECES);
    let chosen = |piece| {
        let keys = 0..count;
        keys.filter(|key| assignment[*key] == piece)
            .collect::<Vec<_>>()
    };
    for (number, piece) in pieces.iter().enumerate() {
        let again = Request {
            frame: &piece[4..],
            ..*request
        };
        let chosen = chosen(number);
        let expected = match &needs {
            // It is in every piece.
            Needs::Coordinators(kind, keys) if request.api.route == Route::GroupCoordinator => {
                Needs::Coordinators(*kind, keys.clone())
            }
            _ if chosen.is_empty() => continue,
            Needs::Leaders(keys) => Needs::Leaders(only(keys, &chosen)),
            Needs::Coordinators(kind, keys) => Needs::Coordinators(*kind, only(keys, &chosen)),
            Needs::Nodes(keys) => Needs::Nodes(only(keys, &chosen)),
            Needs::All | Needs::Any | Needs::FetchSession => continue,
        };
        assert_eq!(again.needs(), Ok(expected), "piece {number}");
    }
    Some((0..PIECES).map(chosen).collect())
}

fn only<T: Clone>(keys: &[T], chosen: &[usize]) -> Vec<T> {
    chosen.iter().map(|key| keys[*key].clone()).collect()
}

fn check_answers(request: &Request<'_>, keys: &[Vec<usize>], answer: &[u8]) {
    let outcomes = [
        Outcome::Answered(answer),
        Outcome::Failed(Failure::Unanswered),
        Outcome::NothingYet,
    ];
    let keys = keys.iter().map(Vec::as_slice);
    let pieces: Vec<_> = keys
        .clone()
        .zip(outcomes)
        .map(|(keys, outcome)| piece(keys, outcome))
        .collect();
    let all: Vec<_> = keys.flatten().copied().collect();
    let failed = request.failed(Failure::NotSent).ok();
    let merged = request.merge(&pieces).ok();
    let prefix = 8 + usize::from(
        request
            .api
            .header_versions(request.version)
            .is_some_and(|headers| headers.response >= 1),
    );
    // What was written reads as the answer of one broker, and then stays as it is.
    for response in failed.into_iter().chain(merged) {
        let body = &response[prefix..];
        let again = request.merge(&[piece(&all, Outcome::Answered(body))]);
        assert_eq!(again.as_deref(), Ok(response.as_slice()));
    }
}

fn piece<'a>(keys: &'a [usize], outcome: Outcome<'a>) -> Piece<'a> {
    Piece {
        node: None,
        keys,
        outcome,
    }
}
