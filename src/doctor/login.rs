//! SASL as a client does it: which mechanisms a listener has, and whether a login works.

use super::diagnosis::refused_late;
use super::errors;
use super::reach::Reach;
use super::{Code, Trouble};
use crate::auth::{AuthError, Credentials, Login, NONCE_BYTES, Step};
use crate::broker::{ExchangeError, ProbeError, ask_for_login};
use crate::net::stream::Stream;
use crate::observe::text::Shown;
use crate::protocol::doctor_requests::{self, TokenAnswer};
use crate::protocol::own_requests::Handshake;
use crate::types::BrokerAddress;

/// PLAIN and SCRAM take two tokens at the most.
const TOKENS_MAX: usize = 4;

/// Asked for where no login is wanted, to see whether one is demanded.
const ANY_MECHANISM: &str = "PLAIN";

/// The mechanisms of a listener that has closed over Metadata, if that was because it demands a
/// login. No listener is asked that answers Metadata: one without SASL takes it for an attempt to
/// log in, and so does a Narrows in between, which warns of it.
pub(super) async fn demanded(
    reach: &Reach,
    address: &BrokerAddress,
    trouble: &Trouble,
) -> Option<String> {
    if trouble.code != Code::METADATA_FAILED {
        return None;
    }
    let mut reached = reach.open(address).await.ok()?;
    let stream = &mut reached.stream;
    match ask_for_login(stream, &reach.name, ANY_MECHANISM, reach.timeout).await {
        Ok(Handshake::Demanded(offered)) => Some(list(&offered)),
        _ => None,
    }
}

/// Logs in on a connection. `Ok(false)` when the listener has no SASL.
pub(super) async fn log_in(
    reach: &Reach,
    address: &BrokerAddress,
    stream: &mut Stream,
    credentials: &Credentials,
) -> Result<bool, Trouble> {
    let wanted = credentials.mechanism.name();
    let handshake = ask_for_login(stream, &reach.name, wanted, reach.timeout).await;
    match handshake.map_err(|error| unanswered(address, &error))? {
        Handshake::NotDemanded => return Ok(false),
        Handshake::Unclear(code) => {
            let fact = format!(
                "{address} answers SaslHandshake with {}",
                errors::name(code)
            );
            return Err(Trouble::new(Code::SASL_FAILED, fact));
        }
        Handshake::Demanded(offered) if !offered.iter().any(|name| name == wanted) => {
            let fact = format!("{address} does not offer {wanted} but {}", list(&offered));
            return Err(Trouble::new(Code::SASL_MECHANISM_NOT_OFFERED, fact));
        }
        Handshake::Demanded(_) => {}
    }
    exchange_tokens(reach, address, stream, credentials).await?;
    Ok(true)
}

/// Mechanisms, safe to print.
fn list(mechanisms: &[String]) -> String {
    Shown::name(&mechanisms.join(", ")).to_string()
}

async fn exchange_tokens(
    reach: &Reach,
    address: &BrokerAddress,
    stream: &mut Stream,
    credentials: &Credentials,
) -> Result<(), Trouble> {
    let failed = |error: AuthError| refused(address, credentials, &error);
    let (mut login, mut token) = Login::begin(credentials, nonce()).map_err(failed)?;
    for _ in 0..TOKENS_MAX {
        let request = doctor_requests::token_request(reach.name.as_bytes(), &token);
        let answer = match reach.ask(stream, &request).await {
            Ok(answer) => answer,
            Err(error) => return Err(unanswered(address, &error.into())),
        };
        let answer = doctor_requests::read_token(&answer)
            .map_err(|error| unanswered(address, &error.into()))?;
        if answer.error != 0 {
            return Err(denied(address, credentials, &answer));
        }
        match login.answer(&answer.token).map_err(failed)? {
            Step::Done => return Ok(()),
            Step::Send(next, next_token) => (login, token) = (next, next_token),
        }
    }
    let fact = format!("{address} goes on with the login for ever");
    Err(Trouble::new(Code::SASL_FAILED, fact))
}

fn nonce() -> [u8; NONCE_BYTES] {
    // It has to be new, not secret.
    std::array::from_fn(|_| fastrand::u8(..))
}

/// SASL_AUTHENTICATION_FAILED.
const AUTHENTICATION_FAILED: i16 = 58;

fn denied(address: &BrokerAddress, credentials: &Credentials, answer: &TokenAnswer) -> Trouble {
    let (user, mechanism) = (Shown::name(&credentials.user), credentials.mechanism);
    let said = answer.message.as_deref().map_or(String::new(), |message| {
        // Some say the token again that they refuse, and that of PLAIN is the password.
        let message = message.replace(credentials.password.expose(), "***");
        format!(", \"{}\"", Shown::name(&message))
    });
    let error = errors::name(answer.error);
    let fact = format!("{address} refuses user {user} by {mechanism} ({error}{said})");
    let code = match answer.error {
        AUTHENTICATION_FAILED => Code::SASL_LOGIN_FAILED,
        _ => Code::SASL_FAILED,
    };
    Trouble::new(code, fact)
}

fn refused(address: &BrokerAddress, credentials: &Credentials, error: &AuthError) -> Trouble {
    let (user, mechanism) = (Shown::name(&credentials.user), credentials.mechanism);
    let code = match error {
        AuthError::Refused(_) => Code::SASL_LOGIN_FAILED,
        AuthError::NotTheBroker => Code::SASL_NOT_PROVEN,
        _ => Code::SASL_FAILED,
    };
    let error = Shown::name(&error.to_string()).to_string();
    let fact = format!("the login of user {user} at {address} by {mechanism} failed ({error})");
    Trouble::new(code, fact)
}

fn unanswered(address: &BrokerAddress, error: &ProbeError) -> Trouble {
    if let ProbeError::Exchange(ExchangeError::Io(io)) = error
        && let Some(trouble) = refused_late(address, io)
    {
        return trouble;
    }
    let fact = format!("{address} does not answer as SASL has it ({error})");
    Trouble::new(Code::SASL_FAILED, fact)
}
