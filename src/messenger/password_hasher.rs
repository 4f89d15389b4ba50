//! Hashes passwords by argon2id, on blocking threads, in a bounded queue that is fair to each lane.
//!
//! One hash takes 19 MiB and some 20 ms of a processor. So only one is made at a time for two processors, and the lanes
//! (the addresses of clients) take turns: who floods one lane delays its own.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hash,
    sync::{Arc, LazyLock},
    thread,
};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use hubbub_lifecycle::metric;
use metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::account::Password;

/// Passwords of one lane that may wait.
const WAITING_OF_LANE: usize = 16;
/// Passwords of all lanes that may wait.
const WAITING: usize = 1024;

static HASHES: LazyLock<Counter> = LazyLock::new(|| metrics::counter!(metric::PASSWORD_HASHES));

/// No password is taken now: too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub(crate) struct Busy;

/// What came of comparing a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// It is another one, or there is none.
    Wrong,
    /// It is right.
    Right,
    /// It is right, and this is the hash by which today's parameters would keep it.
    Outdated(String),
}

/// Hashes passwords. Clones share the queue. `K` names a lane.
#[derive(Clone)]
pub(crate) struct PasswordHasher<K> {
    queue: Arc<Mutex<Queue<K>>>,
    /// Threads that hash at a time.
    threads: usize,
    tasks: TaskTracker,
    /// Compared with if there is no account: the answer takes the same time.
    nobody: Arc<str>,
}

type Job = Box<dyn FnOnce() + Send>;

struct Queue<K> {
    waiting: HashMap<K, VecDeque<Job>>,
    /// The lanes that have passwords, in the order of their turns.
    turns: VecDeque<K>,
    length: usize,
    running: usize,
}

impl<K: Clone + Eq + Hash + Send + 'static> PasswordHasher<K> {
    /// One that uses half of the processors.
    pub(crate) fn new() -> Self {
        Self::with_threads(thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2)))
    }

    fn with_threads(threads: usize) -> Self {
        let queue = Queue { waiting: HashMap::new(), turns: VecDeque::new(), length: 0, running: 0 };
        let nobody = Argon2::default().hash_password(&rand::random::<[u8; 16]>());
        let nobody = nobody.map(|hash| hash.to_string()).unwrap_or_default();
        Self { queue: Arc::new(Mutex::new(queue)), threads, tasks: TaskTracker::new(), nobody: nobody.into() }
    }

    /// The hash of a new password, in the PHC format.
    ///
    /// # Errors
    ///
    /// Too many wait.
    pub(crate) async fn hash(&self, lane: K, password: Password) -> Result<String, Busy> {
        self.run(lane, move || hash(&password)).await?.ok_or(Busy)
    }

    /// Compares a password with a hash. Without one it takes the same time, and is wrong.
    ///
    /// # Errors
    ///
    /// Too many wait.
    pub(crate) async fn compare(&self, lane: K, password: Password, kept: Option<String>) -> Result<Compared, Busy> {
        let nobody = Arc::clone(&self.nobody);
        self.run(lane, move || {
            let is_right = matches(&password, kept.as_deref().unwrap_or(&nobody));
            match kept {
                Some(kept) if is_right && is_outdated(&kept) => {
                    hash(&password).map_or(Compared::Right, Compared::Outdated)
                }
                Some(_) if is_right => Compared::Right,
                _ => Compared::Wrong,
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, lane: K, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let (sender, outcome) = oneshot::channel();
        let job = Box::new(move || {
            // nobody waits any more: the work is spared
            if !sender.is_closed() {
                let _gone = sender.send(work());
            }
        });
        if self.queue.lock().add(lane, job, self.threads)? {
            let queue = Arc::clone(&self.queue);
            drop(self.tasks.spawn_blocking(move || work_off(&queue)));
        }
        outcome.await.map_err(|_| Busy)
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Queues a job. True: another thread has to begin.
    fn add(&mut self, lane: K, job: Job, threads: usize) -> Result<bool, Busy> {
        let of_lane = self.waiting.get(&lane).map_or(0, VecDeque::len);
        if of_lane >= WAITING_OF_LANE || self.length >= WAITING {
            return Err(Busy);
        }
        if of_lane == 0 {
            self.turns.push_back(lane.clone());
        }
        self.waiting.entry(lane).or_default().push_back(job);
        self.length += 1;
        let begins = self.running < threads;
        self.running += usize::from(begins);
        Ok(begins)
    }

    /// The next job. None: the thread ends.
    fn next(&mut self) -> Option<Job> {
        let next = self.turns.pop_front().and_then(|lane| {
            let jobs = self.waiting.get_mut(&lane)?;
            let job = jobs.pop_front();
            if jobs.is_empty() {
                let _empty = self.waiting.remove(&lane);
            } else {
                self.turns.push_back(lane);
            }
            job
        });
        if next.is_some() {
            self.length -= 1;
        } else {
            self.running -= 1;
        }
        next
    }
}

fn work_off<K: Clone + Eq + Hash>(queue: &Mutex<Queue<K>>) {
    loop {
        let next = queue.lock().next();
        match next {
            Some(job) => job(),
            None => return,
        }
    }
}

fn hash(password: &Password) -> Option<String> {
    HASHES.increment(1);
    Argon2::default().hash_password(password.bytes()).ok().map(|hash| hash.to_string())
}

fn matches(password: &Password, kept: &str) -> bool {
    HASHES.increment(1);
    PasswordHash::new(kept).is_ok_and(|kept| Argon2::default().verify_password(password.bytes(), &kept).is_ok())
}

fn is_outdated(kept: &str) -> bool {
    PasswordHash::new(kept).is_ok_and(|kept| Params::try_from(&kept).is_ok_and(|params| weaker(&params)))
}

fn weaker(params: &Params) -> bool {
    let now = Params::DEFAULT;
    params.m_cost() < now.m_cost() || params.t_cost() < now.t_cost()
}

impl<K: Clone + Eq + Hash + Send + 'static> Default for PasswordHasher<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> fmt::Debug for PasswordHasher<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHasher").field("threads", &self.threads).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::given(text)
    }

    #[tokio::test]
    async fn a_password_is_compared_with_its_hash() {
        let hasher = PasswordHasher::<u8>::with_threads(1);
        let hash = hasher.hash(1, password("sesame")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let compare = async |text: &str, kept: Option<&str>| {
            hasher.compare(1, password(text), kept.map(str::to_owned)).await.unwrap()
        };
        assert_eq!(compare("sesame", Some(&hash)).await, Compared::Right);
        assert_eq!(compare("Sesame", Some(&hash)).await, Compared::Wrong);
        assert_eq!(compare("sesame", None).await, Compared::Wrong);
        assert_eq!(compare("sesame", Some("")).await, Compared::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_weaker_parameters_is_renewed_when_its_password_is_known() {
        let hasher = PasswordHasher::<u8>::with_threads(1);
        let weak = Argon2::from(Params::new(8, 1, 1, None).unwrap()).hash_password(b"sesame").unwrap().to_string();
        assert_eq!(hasher.compare(1, password("x"), Some(weak.clone())).await, Ok(Compared::Wrong));
        let Ok(Compared::Outdated(renewed)) = hasher.compare(1, password("sesame"), Some(weak)).await else {
            panic!("the hash is not renewed")
        };
        assert!(renewed.contains("m=19456,t=2,p=1"));
        assert_eq!(hasher.compare(1, password("sesame"), Some(renewed)).await, Ok(Compared::Right));
    }

    #[test]
    fn lanes_take_turns_and_each_is_bounded() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let hasher = PasswordHasher::<u8>::with_threads(0);
        let job = |lane: u8| -> Job {
            let order = Arc::clone(&order);
            Box::new(move || order.lock().push(lane))
        };
        let mut queue = hasher.queue.lock();
        for _ in 0..WAITING_OF_LANE {
            assert!(queue.add(1, job(1), 0).is_ok());
        }
        assert_eq!(queue.add(1, job(1), 0), Err(Busy));
        assert!(queue.add(2, job(2), 0).is_ok() && queue.add(2, job(2), 0).is_ok());
        queue.running = 1;
        drop(queue);
        work_off(&hasher.queue);
        assert_eq!(order.lock().get(..5), Some(&[1, 2, 1, 2, 1][..]));
        assert_eq!(order.lock().len(), WAITING_OF_LANE + 2);
        assert_eq!(hasher.queue.lock().length, 0);
    }
}
