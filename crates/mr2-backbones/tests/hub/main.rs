//! Downloads from a server on this machine that speaks the Hub's protocol; the real Hub is not asked.
#![allow(clippy::unwrap_used)]

mod server; // HTTP/1.1 on a loopback port, with faults
mod world; // a Hub, the host that it redirects to, and a cache

mod content; // wrong bytes, web pages, full disks
mod fetching; // what is fetched, linked, found again
mod interruptions; // dropped connections, busy and silent servers
mod processes; // two at once
mod records; // names that move, pins, verify
mod refusals; // 401, 403, 404, and where the token goes
mod settings; // the environment
