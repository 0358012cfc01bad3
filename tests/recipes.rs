//! The recipes of `packaging/recipes`, each run by a real agent against its business system, or
//! against a stub that follows the vendor's documentation. A recipe's file is used unchanged except
//! for hosts, ports and paths of secrets.
//!
//! Each test checks the same: a record is delivered; a rejection and its message are understood; an
//! expired session or a rate limit costs no retry; a record whose response is lost is there once.
//!
//! Recipes with an adapter need `python3`, and the test of PHP's own SOAP server needs `php`
//! (`php-cli` and `php-soap`). Without them the tests print that and pass, unless
//! `RESYNCD_NEED_PYTHON=1` or `RESYNCD_NEED_PHP=1` is set: then they fail.

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
