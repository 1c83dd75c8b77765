//! The vectors of RFC 5802 and RFC 7677, and what a broker must not get away with.

use super::scram::{Hash, Scram};
use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;

fn pencil() -> Secret {
    Secret::new("pencil".to_owned())
}

fn begun() -> Scram {
    Scram::begin_with(Hash::Sha256, "user", &pencil(), NONCE.to_owned()).0
}

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const CHALLENGE: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

#[test]
fn the_exchange_of_rfc_7677_goes_as_it_is_printed_there() {
    let (scram, first) = Scram::begin_with(Hash::Sha256, "user", &pencil(), NONCE.to_owned());
    assert_eq!(first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let (scram, proof) = scram.answer(CHALLENGE).unwrap().unwrap();
    let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(String::from_utf8(proof).unwrap(), expected);
    let verdict = scram.answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert!(matches!(verdict, Ok(None)));
}

#[test]
fn a_broker_that_does_not_know_the_password_is_found_out() {
    let (scram, _) = begun().answer(CHALLENGE).unwrap().unwrap();
    let error = scram.answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=");
    assert!(error.is_err());
    let (scram, _) = begun().answer(CHALLENGE).unwrap().unwrap();
    let other = format!("v={}", BASE64.encode([7; 32]));
    let error = scram.answer(other.as_bytes()).unwrap_err();
    assert_eq!(error, AuthError::NotTheBroker);
}

#[test]
fn a_challenge_that_is_not_for_us_or_asks_for_too_much_is_refused() {
    for (challenge, expected) in [
        (&b"r=another,s=QUJD,i=4096"[..], "does not go on from ours"),
        (b"r=rOprNGfwEbeRWgbNEkqO,s=QUJD,i=4096", "does not go on"),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=!,i=4096", "no salt"),
        (
            b"r=rOprNGfwEbeRWgbNEkqOx,s=QUJD,i=0",
            "no number of iterations",
        ),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=QUJD,i=4000000000", "4000000000"),
        (b"m=ext,r=rOprNGfwEbeRWgbNEkqOx,s=QUJD,i=4096", "no nonce"),
        (b"e=unknown-user", "refused the login: unknown-user"),
        (b"\xff", "no short text"),
    ] {
        let error = begun().answer(challenge).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Made with Python's hashlib and hmac.
#[test]
fn sha_512_has_the_same_course() {
    let (scram, _) = Scram::begin_with(Hash::Sha512, "user", &pencil(), "abc".to_owned());
    let (scram, proof) = scram
        .answer(b"r=abcdef,s=QSXCR+Q6sek8bf92,i=4096")
        .unwrap()
        .unwrap();
    let expected = "c=biws,r=abcdef,p=0f+lKDiX32Ve21nKVcMKxpi0+uwTE8rRYhHRqa9D15NJ31nAa7vfOdRI0xRb\
        jUTJuj5URw7/cfO0FqXbXz74+g==";
    assert_eq!(String::from_utf8(proof).unwrap(), expected);
    let verdict = "v=AGdz+jl8c2oDZU9Mr50F2OW7rZGGyUhtYh5SlCUHQcEQZxhc3buVqyDqf83UKzyFDcrw8Okp3Jfpx\
        J9twxXPJQ==";
    assert!(matches!(scram.answer(verdict.as_bytes()), Ok(None)));
}

#[test]
fn a_user_name_can_not_add_attributes_of_its_own() {
    let (_, first) = Scram::begin_with(Hash::Sha256, "a,r=x=", &pencil(), "n".to_owned());
    assert_eq!(first, b"n,,n=a=2Cr=3Dx=3D,r=n");
}

#[test]
fn plain_is_user_and_password_between_zero_bytes_and_neither_may_have_one() {
    let credentials = |user: &str| Credentials {
        mechanism: Mechanism::Plain,
        user: user.to_owned(),
        password: pencil(),
    };
    let (login, token) = Login::begin(&credentials("user"), [0; NONCE_BYTES]).unwrap();
    assert_eq!(token, b"\0user\0pencil");
    assert!(matches!(login.answer(b""), Ok(Step::Done)));
    let error = Login::begin(&credentials("us\0er"), [0; NONCE_BYTES]).unwrap_err();
    assert_eq!(error, AuthError::ZeroByte);
}

#[test]
fn a_password_is_in_nothing_that_can_be_printed() {
    let credentials = Credentials {
        mechanism: Mechanism::ScramSha256,
        user: "user".to_owned(),
        password: pencil(),
    };
    let (login, _) = Login::begin(&credentials, [0; NONCE_BYTES]).unwrap();
    let shown = format!("{credentials:?} {login:?}");
    assert!(
        shown.contains("***") && !shown.contains("pencil"),
        "{shown}"
    );
}

#[test]
fn mechanisms_are_read_in_any_case() {
    assert_eq!("scram-sha-256".parse(), Ok(Mechanism::ScramSha256));
    assert_eq!(
        "gssapi".parse::<Mechanism>(),
        Err(AuthError::UnknownMechanism)
    );
}

proptest! {
    #[test]
    fn no_token_of_a_broker_is_a_panic(token in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = begun().answer(&token);
        let (scram, _) = begun().answer(CHALLENGE).unwrap().unwrap();
        prop_assert!(scram.answer(&token).is_err());
    }
}
