//! The recipes of `packaging/recipes`, each run by a real agent against its business system, or against
//! a stub that answers as the vendor's documentation says. A recipe's file is taken as it is; only
//! hosts, ports and the places of secrets are other ones.
//!
//! Each is asked the same: does it deliver; are a no and its words understood; does a session that has
//! ended, or a "not so fast", cost nothing; and when an answer is lost, is it there once.
//!
//! Those with an adapter need `python3`, and PHP's own SOAP server is asked where `php` has one
//! (`php-cli` and `php-soap`). Without them they say so and pass, unless `RESYNCD_NEED_PYTHON=1` or
//! `RESYNCD_NEED_PHP=1` is set: then they fail.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the house, on its clock's side")]

#[expect(dead_code, reason = "made for the black-box tests, which use all of it")]
mod support;

#[path = "recipes/adapters.rs"]
mod adapters;
#[path = "recipes/business_central.rs"]
mod business_central;
#[path = "recipes/index.rs"]
mod index;
#[path = "recipes/kitchen.rs"]
mod kitchen;
#[path = "recipes/odoo.rs"]
mod odoo;
#[path = "recipes/sap.rs"]
mod sap;
#[path = "recipes/shopify.rs"]
mod shopify;
#[path = "recipes/soap_server.rs"]
mod soap_server;
#[path = "recipes/woocommerce.rs"]
mod woocommerce;
