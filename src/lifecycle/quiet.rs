//! A future that is polled when it has something to say, and not whenever its task runs.
//!
//! A session runs for every read. To ask each time whether it is to stop takes the lock of a token
//! that all sessions share; this asks when the token has rung.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::task::{Context, Poll, Wake, Waker};

/// Waits for `future`, which is polled once, and then each time after it has woken its task.
/// Cancel-safe if `future` is.
pub(crate) fn quiet<F: Future>(future: F) -> Quiet<F> {
    Quiet {
        future: Box::pin(future),
        bell: None,
    }
}

/// See [`quiet`].
#[derive(Debug)]
pub(crate) struct Quiet<F> {
    future: Pin<Box<F>>,
    bell: Option<Arc<Bell>>,
}

impl<F: Future> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.bell.as_ref().is_some_and(|bell| bell.is_silent(cx)) {
            return Poll::Pending;
        }
        // A bell rings once: one that rings late is nobody's any more.
        let bell = Arc::new(Bell {
            has_rung: AtomicBool::new(false),
            task: cx.waker().clone(),
        });
        let waker = Waker::from(Arc::clone(&bell));
        self.bell = Some(bell);
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

#[derive(Debug)]
struct Bell {
    has_rung: AtomicBool,
    task: Waker,
}

impl Bell {
    /// Whether it would wake the task that asks, and has not.
    fn is_silent(&self, cx: &Context<'_>) -> bool {
        !self.has_rung.load(Acquire) && self.task.will_wake(cx.waker())
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;
    use tokio_util::sync::CancellationToken;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A task's waker, and how often it was woken.
    fn task() -> (Waker, Arc<Counted>) {
        let count = Arc::new(Counted::default());
        (Waker::from(Arc::clone(&count)), count)
    }

    #[test]
    fn it_is_not_asked_again_before_it_has_woken_its_task() {
        let polls = AtomicUsize::new(0);
        let token = CancellationToken::new();
        let mut cancelled = pin!(token.cancelled());
        let mut waits = pin!(quiet(poll_fn(|cx| {
            polls.fetch_add(1, Relaxed);
            cancelled.as_mut().poll(cx)
        })));
        let (waker, woken) = task();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..3 {
            assert!(waits.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!((polls.load(Relaxed), woken.0.load(Relaxed)), (1, 0));
        token.cancel();
        assert_eq!(woken.0.load(Relaxed), 1);
        assert!(waits.as_mut().poll(&mut cx).is_ready());
        assert_eq!(polls.load(Relaxed), 2);
    }

    #[test]
    fn one_that_wakes_for_nothing_is_asked_and_heard_again() {
        let mut rings = 0;
        let mut waits = pin!(quiet(poll_fn(|cx| {
            rings += 1;
            cx.waker().wake_by_ref();
            if rings == 3 {
                Poll::Ready(rings)
            } else {
                Poll::Pending
            }
        })));
        let (waker, woken) = task();
        let mut cx = Context::from_waker(&waker);
        assert_eq!(waits.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(waits.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(waits.as_mut().poll(&mut cx), Poll::Ready(3));
        assert_eq!(woken.0.load(Relaxed), 3);
    }

    #[test]
    fn a_task_that_takes_it_over_is_the_one_that_is_woken() {
        let token = CancellationToken::new();
        let mut waits = pin!(quiet(token.cancelled()));
        let ((first, first_woken), (second, second_woken)) = (task(), task());
        let poll = waits.as_mut().poll(&mut Context::from_waker(&first));
        assert!(poll.is_pending());
        let poll = waits.as_mut().poll(&mut Context::from_waker(&second));
        assert!(poll.is_pending());
        token.cancel();
        let woken = [first_woken, second_woken].map(|woken| woken.0.load(Relaxed));
        assert_eq!(woken, [0, 1]);
    }
}
