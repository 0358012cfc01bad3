//! Black-box tests: the real binary, its sockets, real HTTP, its database through other programs.
//!
//! Only the built binary is used, nothing else of the crate,
//! so that these tests show what an integrator gets. How the policy decides over hours and
//! thousands of terminals is the subject of the simulation.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the house, on its clock's side")]

mod support;

#[path = "blackbox/advice.rs"]
mod advice;
#[path = "blackbox/ahead.rs"]
mod ahead;
#[path = "blackbox/alerts.rs"]
mod alerts;
#[path = "blackbox/answers.rs"]
mod answers;
#[path = "blackbox/backup.rs"]
mod backup;
#[path = "blackbox/bounds.rs"]
mod bounds;
#[path = "blackbox/cases.rs"]
mod cases;
#[path = "blackbox/check.rs"]
mod check;
#[path = "blackbox/clients.rs"]
mod clients;
#[path = "blackbox/command_line.rs"]
mod command_line;
#[path = "blackbox/configuration.rs"]
mod configuration;
#[path = "blackbox/content.rs"]
mod content;
#[path = "blackbox/credentials.rs"]
mod credentials;
#[path = "blackbox/cut_short.rs"]
mod cut_short;
#[path = "blackbox/damage.rs"]
mod damage;
#[path = "blackbox/delivery.rs"]
mod delivery;
#[path = "blackbox/disk.rs"]
mod disk;
#[path = "blackbox/doctor.rs"]
mod doctor;
#[path = "blackbox/documents.rs"]
mod documents;
#[path = "blackbox/durability.rs"]
mod durability;
#[path = "blackbox/edit.rs"]
mod edit;
#[path = "blackbox/engines.rs"]
mod engines;
#[path = "blackbox/exchange.rs"]
mod exchange;
#[path = "blackbox/export.rs"]
mod export;
#[path = "blackbox/fault.rs"]
mod fault;
#[path = "blackbox/framing.rs"]
mod framing;
#[path = "blackbox/hostile.rs"]
mod hostile;
#[path = "blackbox/idempotency.rs"]
mod idempotency;
#[path = "blackbox/import.rs"]
mod import;
#[path = "blackbox/imported.rs"]
mod imported;
#[path = "blackbox/language.rs"]
mod language;
#[path = "blackbox/leaving.rs"]
mod leaving;
#[path = "blackbox/lifecycle.rs"]
mod lifecycle;
#[path = "blackbox/line.rs"]
mod line;
#[path = "blackbox/metrics.rs"]
mod metrics;
#[path = "blackbox/million.rs"]
mod million;
#[path = "blackbox/named_files.rs"]
mod named_files;
#[path = "blackbox/names.rs"]
mod names;
#[path = "blackbox/operations.rs"]
mod operations;
#[path = "blackbox/passed.rs"]
mod passed;
#[path = "blackbox/payloads.rs"]
mod payloads;
#[path = "blackbox/pieces.rs"]
mod pieces;
#[path = "blackbox/place.rs"]
mod place;
#[path = "blackbox/reloading.rs"]
mod reloading;
#[path = "blackbox/replay.rs"]
mod replay;
#[path = "blackbox/report.rs"]
mod report;
#[path = "blackbox/requests.rs"]
mod requests;
#[path = "blackbox/root.rs"]
mod root;
#[path = "blackbox/routes.rs"]
mod routes;
#[path = "blackbox/salvage.rs"]
mod salvage;
#[path = "blackbox/schema.rs"]
mod schema;
#[path = "blackbox/screens.rs"]
mod screens;
#[path = "blackbox/several.rs"]
mod several;
#[path = "blackbox/silent.rs"]
mod silent;
#[path = "blackbox/sockets.rs"]
mod sockets;
#[path = "blackbox/sql.rs"]
mod sql;
#[path = "blackbox/surroundings.rs"]
mod surroundings;
#[path = "blackbox/technician.rs"]
mod technician;
#[path = "blackbox/top.rs"]
mod top;
#[path = "blackbox/transcripts.rs"]
mod transcripts;
#[path = "blackbox/typescript.rs"]
mod typescript;
#[path = "blackbox/understanding.rs"]
mod understanding;
#[path = "blackbox/vanished.rs"]
mod vanished;
#[path = "blackbox/waiting.rs"]
mod waiting;
