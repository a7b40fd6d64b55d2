//! Where a deliberate bug can be put between the core and what is around it, without a switch in
//! the code that ships. [`Honest`] changes nothing.

use henge::core::{Request, Response, Saved};
use henge::store::memory::Memory;
use henge::store::{StoreResult, WriteOp};
use henge_client as client;

use crate::disk::Image;
use crate::world::Pid;

/// A question to the peer at this end of a hop.
pub type Ask<'a> = dyn FnMut(client::Request) -> Option<client::Response> + 'a;

/// What passes between a core, its store and its network.
pub trait Seam: Send {
    /// What the disk of `pid` is made of.
    fn image(&self, pid: Pid) -> Box<dyn Image> {
        let _ = pid;
        Box::new(Memory::new())
    }

    /// What a peer finds saved when it starts; `crashed` after a crash of its machine.
    fn saved(&self, pid: Pid, saved: Saved, crashed: bool) -> Saved {
        let _ = (pid, crashed);
        saved
    }

    /// What is saved survives the loss of the disk.
    fn keeps_meta(&self) -> bool {
        false
    }

    /// A request as its receiver sees it. `ask` asks the receiver.
    fn request(&self, request: Request, ask: &mut Ask<'_>) -> Request {
        let _ = ask;
        request
    }

    /// A response of `from` as its receiver sees it.
    fn response(&self, from: Pid, request: &Request, response: Response) -> Response {
        let _ = (from, request);
        response
    }

    /// What a peer believes of a write that its store executed.
    fn stored(&self, op: &WriteOp, result: StoreResult, durable: bool) -> (StoreResult, bool) {
        let _ = op;
        (result, durable)
    }
}

/// No bug.
#[derive(Debug, Clone, Copy, Default)]
pub struct Honest;

impl Seam for Honest {}
