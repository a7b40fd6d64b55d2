//! The async handle: `put`, `get` and `delete`, as builders that are awaited.
//!
//! One handle serves both kinds of program: one that runs a peer of its own ([`crate::node`],
//! [`crate::behaviour`]) and one that is only a client of others ([`crate::client`]).

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use henge_client::{
    BeginSnapshot, Get, Hop, Located, Request, Response, Snapshot, Status, Supersede, TIMEOUT_DEFAULT_MS,
    TIMEOUT_MAX_MS, Value, WriteOptions,
};
use henge_types::{Context, Key, OperationId};
use tokio::sync::{mpsc, oneshot};

use crate::error::RequestError;

/// Requests that wait for their driver. When it is full, callers wait.
const QUEUE_MAX: usize = 1024;

/// Sends requests to a peer. Cheap to clone; a request is dropped with its future, except that a
/// write that was sent may still be done.
#[derive(Debug, Clone)]
pub struct Handle {
    calls: mpsc::Sender<Call>,
}

/// A request on its way to whoever drives the peer or client.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes; gone when the caller has given up.
    pub reply: oneshot::Sender<Result<Response, RequestError>>,
}

/// An acknowledged write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The context of what the key holds now, as the coordinator knows it: also of siblings that
    /// this writer did not see, if there are any. Get before you put over those.
    pub context: Context,
    /// How many replicas had it durably when the answer was sent.
    pub acks: u32,
    /// How many of them stood in for a voter.
    pub hinted: u32,
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// To put over, or delete, all of it.
    pub context: Context,
    /// No value, one, or several that were written concurrently.
    pub siblings: Vec<Value>,
    /// How many replicas and stand-ins this rests on: fewer than R only where the read was not
    /// strict and the others are away.
    pub answers: u32,
    /// How many of them stood in for a voter.
    pub hinted: u32,
}

impl Got {
    /// The value, if there is exactly one.
    #[must_use]
    pub fn single(&self) -> Option<&Bytes> {
        match self.siblings.as_slice() {
            [one] => Some(&one.value),
            [] | [_, ..] => None,
        }
    }
}

impl Handle {
    /// A handle, and the queue for whoever drives its peer.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Call>) {
        let (calls, queue) = mpsc::channel(QUEUE_MAX);
        (Self { calls }, queue)
    }

    /// Writes `value` under `key`. Without more it supersedes what a quorum has.
    pub fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Put {
        Put { write: self.write(key.into()), value: value.into(), ttl: None }
    }

    /// Deletes `key`. Without more it supersedes what a quorum has.
    pub fn delete(&self, key: impl Into<Bytes>) -> Delete {
        Delete { write: self.write(key.into()) }
    }

    /// Reads `key`.
    pub fn get(&self, key: impl Into<Bytes>) -> GetRequest {
        GetRequest {
            handle: self.clone(),
            key: key.into(),
            quorum: None,
            strict: false,
            timeout: Duration::from_millis(TIMEOUT_DEFAULT_MS.into()),
        }
    }

    /// Who is in the ring.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn status(&self) -> Result<Status, RequestError> {
        let response = self.call(Request::Status).await?;
        if let Response::Status(status) = response { Ok(status) } else { Err(unexpected(response)) }
    }

    /// Where `key` lives.
    ///
    /// # Errors
    /// [`RequestError`]; [`RequestError::Key`] when it is no key.
    pub async fn locate(&self, key: impl Into<Bytes>) -> Result<Located, RequestError> {
        let key = Key::new(key)?;
        let response = self.call(Request::Locate { key }).await?;
        if let Response::Located(located) = response { Ok(located) } else { Err(unexpected(response)) }
    }

    /// How far the snapshot is that the peer takes, or what became of its last one; begins one where `begin`
    /// says which.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn snapshot(&self, begin: Option<BeginSnapshot>) -> Result<Option<Snapshot>, RequestError> {
        let response = self.call(Request::Snapshot { begin }).await?;
        if let Response::Snapshot(snapshot) = response { Ok(snapshot) } else { Err(unexpected(response)) }
    }

    /// Sends any request and waits for its answer.
    ///
    /// # Errors
    /// [`RequestError::Stopped`], [`RequestError::Unreachable`], [`RequestError::Unknown`]. A
    /// refusal by the peer is an answer: [`Response::Failed`].
    pub async fn call(&self, request: Request) -> Result<Response, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(Call { request, reply }).await.map_err(|_| RequestError::Stopped)?;
        answer.await.map_err(|_| RequestError::Stopped)?
    }

    fn write(&self, key: Bytes) -> Write {
        let options = WriteOptions {
            supersede: Supersede::Current,
            quorum: None,
            strict: false,
            operation: OperationId(rand::random()),
            retry: false,
            timeout_ms: TIMEOUT_DEFAULT_MS,
            hop: Hop::Client,
        };
        Write { handle: self.clone(), key, options }
    }
}

#[derive(Debug)]
struct Write {
    handle: Handle,
    key: Bytes,
    options: WriteOptions,
}

impl Write {
    async fn send(self, request: impl FnOnce(Key, WriteOptions) -> Request) -> Result<Written, RequestError> {
        let key = Key::new(self.key)?;
        written(self.handle.call(request(key, self.options)).await?)
    }
}

macro_rules! write_options {
    ($builder:ident) => {
        impl $builder {
            /// Supersedes what the reader saw who got this context.
            pub fn context(mut self, context: Context) -> Self {
                self.write.options.supersede = Supersede::Context(context);
                self
            }

            /// Supersedes nothing: what is there stays, as siblings.
            pub fn blind(mut self) -> Self {
                self.write.options.supersede = Supersede::Blind;
                self
            }

            /// W: how many replicas must have it durably. Default: the cluster's.
            pub fn quorum(mut self, w: u8) -> Self {
                self.write.options.quorum = Some(w);
                self
            }

            /// Counts voters only, no stand-ins.
            pub fn strict(mut self) -> Self {
                self.write.options.strict = true;
                self
            }

            /// How long it may take: 1 ms to 60 s; default 5 s.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.write.options.timeout_ms = millis(timeout);
                self
            }

            /// Tries an earlier operation again under its own name, so that it is done once.
            pub fn retry_of(mut self, operation: OperationId) -> Self {
                self.write.options.operation = operation;
                self.write.options.retry = true;
                self
            }

            /// The name of this operation, for [`Self::retry_of`].
            pub fn operation(&self) -> OperationId {
                self.write.options.operation
            }
        }
    };
}

/// A put to be awaited.
#[derive(Debug)]
#[must_use = "nothing is written until it is awaited"]
pub struct Put {
    write: Write,
    value: Bytes,
    ttl: Option<Duration>,
}

write_options!(Put);

impl Put {
    /// After how long the value expires; 1 ms or more. Default: never.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl IntoFuture for Put {
    type Output = Result<Written, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let ttl_ms = self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let value = self.value;
        Box::pin(self.write.send(move |key, options| Request::Put { key, value, ttl_ms, options }))
    }
}

/// A delete to be awaited. A key without a value gives [`Deleted::Absent`].
#[derive(Debug)]
#[must_use = "nothing is deleted until it is awaited"]
pub struct Delete {
    write: Write,
}

write_options!(Delete);

/// What a delete did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// A tombstone is acknowledged.
    Written(Written),
    /// There was nothing to delete, and nothing was written.
    Absent,
}

impl IntoFuture for Delete {
    type Output = Result<Deleted, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Write { handle, key, options } = self.write;
        Box::pin(async move {
            let key = Key::new(key)?;
            let response = handle.call(Request::Delete { key, options }).await?;
            if let Response::NotFound { .. } = response {
                return Ok(Deleted::Absent);
            }
            written(response).map(Deleted::Written)
        })
    }
}

/// A get to be awaited.
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct GetRequest {
    handle: Handle,
    key: Bytes,
    quorum: Option<u8>,
    strict: bool,
    timeout: Duration,
}

impl GetRequest {
    /// R: how many replicas must answer. Default: the cluster's.
    pub fn quorum(mut self, r: u8) -> Self {
        self.quorum = Some(r);
        self
    }

    /// Counts voters only, no stand-ins.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// How long it may take: 1 ms to 60 s; default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl IntoFuture for GetRequest {
    type Output = Result<Got, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let key = Key::new(self.key)?;
            let get = Get { key, quorum: self.quorum, strict: self.strict, timeout_ms: millis(self.timeout) };
            match self.handle.call(Request::Get(get)).await? {
                Response::Found { context, siblings, answers, hinted } => {
                    Ok(Got { context, siblings, answers, hinted })
                }
                Response::NotFound { context, answers, hinted } => {
                    Ok(Got { context, siblings: Vec::new(), answers, hinted })
                }
                response @ (Response::Written { .. }
                | Response::Status(_)
                | Response::Located(_)
                | Response::Repair(_)
                | Response::Snapshot(_)
                | Response::Accepted
                | Response::Failed(_)) => Err(unexpected(response)),
            }
        })
    }
}

fn written(response: Response) -> Result<Written, RequestError> {
    if let Response::Written { context, acks, hinted } = response {
        Ok(Written { context, acks, hinted })
    } else {
        Err(unexpected(response))
    }
}

fn unexpected(response: Response) -> RequestError {
    match response {
        Response::Failed(failure) => RequestError::Failed(failure),
        Response::Written { .. }
        | Response::Found { .. }
        | Response::NotFound { .. }
        | Response::Status(_)
        | Response::Located(_)
        | Response::Repair(_)
        | Response::Snapshot(_)
        | Response::Accepted => RequestError::WrongAnswer,
    }
}

fn millis(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_millis()).unwrap_or(TIMEOUT_MAX_MS).clamp(1, TIMEOUT_MAX_MS)
}
