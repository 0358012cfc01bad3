//! STUB: the REST API v3 of `WooCommerce`, according to its documentation, with `resyncd-key.php`
//! as it should work in it. The plugin itself is run by PHP, if available, with the few functions
//! of `WordPress` that it uses.

use crate::kitchen::{
    Books, Recipe, asked_for, blocks, delivers, folder, json_of, key_of, looks_before_it_sends_again, php, refuses,
    sale, tries, waits,
};
use crate::support::{Answer, Upstream, id_of};
use serde_json::{Value, json};

fn payload() -> Value {
    json!({"set_paid": true, "line_items": [{"product_id": 93, "quantity": 2}]})
}

fn shop() -> (Recipe, Upstream, Books) {
    with(true)
}

fn with(plugin: bool) -> (Recipe, Upstream, Books) {
    let books = Books::default();
    let kept = books.clone();
    let error = |status: u16, code: &str, message: &str| {
        Answer::json(status, &json!({"code": code, "message": message, "data": {"status": status}}).to_string())
    };
    let shop = Upstream::start(move |request| {
        // ck_1:cs_1
        if request.header("Authorization") != Some("Basic Y2tfMTpjc18x") {
            return error(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.");
        }
        let asked = "/wp-json/wc/v3/orders?status=any&per_page=1&_fields=id&search=";
        if let Some(keys) = asked_for(&request.path, asked, "") {
            let (searched, key) = keys.split_once("&resyncd_key=").expect("both ways of asking");
            assert_eq!(searched, key);
            // WooCommerce's own search ignores meta data.
            return Answer::json(200, if plugin && kept.has(key) { r#"[{"id":727}]"# } else { "[]" });
        }
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/wp-json/wc/v3/orders"));
        let order = json_of(request);
        let meta = &order["meta_data"][0];
        assert_eq!(meta["key"], "resyncd_key");
        let key = meta["value"].as_str().expect("a key");
        if request.entity() == "busy" && request.attempt() == 1 {
            return Answer::html(503);
        }
        if !order["line_items"].is_array() {
            return error(400, "woocommerce_rest_required_product_reference", "Product ID or SKU is required.");
        }
        if plugin && kept.has(key) {
            return error(409, "resyncd_key_exists", "An order with this key exists.");
        }
        kept.take(request, key, Answer::json(201, r#"{"id":727,"status":"processing"}"#))
    });
    let recipe = Recipe::read("woocommerce/resyncd.toml")
        .host("https://shop.example", shop.port())
        .secret("woocommerce.key", "ck_1:cs_1");
    (recipe, shop, books)
}

#[test]
fn woocommerce_takes_a_sale() {
    let (recipe, _shop, books) = shop();
    delivers(&recipe.serve(), &books, &payload());
}

#[test]
fn woocommerce_refuses_in_its_own_words() {
    let (recipe, _shop, books) = shop();
    refuses(&recipe.serve(), &books, &json!({"line_items": 7}), "HTTP 400: Product ID or SKU is required.");
}

#[test]
fn woocommerce_is_asked_before_a_sale_is_sent_again() {
    let (recipe, _shop, books) = shop();
    looks_before_it_sends_again(&recipe.serve(), &books, &payload());
}

/// A shop in maintenance answers with an HTML page.
#[test]
fn woocommerce_in_maintenance_costs_a_sale_nothing() {
    let (recipe, _shop, books) = shop();
    let words = "HTTP 503: <html><body>Please accept our terms</body></html>";
    waits(&recipe.serve(), &books, "busy", &payload(), "busy", words);
}

/// The application's own order arrived although the application reported a failure with a status.
#[test]
fn woocommerces_plugin_takes_no_key_twice() {
    let (recipe, _shop, books) = shop();
    let agent = recipe.serve();
    books.book(&key_of("s-1"));
    agent.wait_gone(&id_of(&agent.call(&sale("s-1", &payload()))));
    assert_eq!((books.all().len(), tries(&agent)), (1, json!([["delivered", 0]])));
}

/// Without the plugin nothing can be looked up: a sale whose response is lost arrives twice, and none is lost.
#[test]
fn woocommerce_without_the_plugin_loses_no_sale() {
    let (recipe, _shop, books) = with(false);
    books.book("somebody else's");
    let agent = recipe.serve();
    agent.wait_gone(&id_of(&agent.call(&sale("lost-before", &payload()))));
    assert_eq!(books.all(), ["somebody else's".to_owned(), key_of("lost-before")]);
}

#[test]
fn woocommerce_with_a_wrong_key_blocks_until_it_is_right() {
    let (recipe, _shop, books) = shop();
    recipe.put("woocommerce.key", "ck_0:cs_0");
    let agent = recipe.serve();
    let id = blocks(&agent, &payload());
    recipe.put("woocommerce.key", "ck_1:cs_1");
    agent.ask(&json!({"op": "resume"}));
    agent.wait_gone(&id);
    assert_eq!(books.all(), [key_of("s-1")]);
}

/// The hooks of `WordPress` and the orders of `WooCommerce`, as far as the plugin uses them.
const WORDPRESS: &str = r"
$hooks = array();
function add_filter( $name, $callback, $priority, $count ) { global $hooks; $hooks[ $name ] = $callback; }
class WP_Error { public $data; function __construct( $code, $message, $data ) { $this->data = $data; } }
class WC_Order { public $key; function get_meta( $name ) { return $name === 'resyncd_key' ? $this->key : ''; } }
class Request { public $key; function get_param( $name ) { return $name === 'resyncd_key' ? $this->key : null; } }
$kept = array( 'pos-1' );
function wc_get_orders( $args ) {
	global $kept;
	list( 'key' => $key, 'value' => $value ) = $args['meta_query'][0];
	return $key === 'resyncd_key' && in_array( $value, $kept, true ) ? array( 727 ) : array();
}
";

const QUESTIONS: &str = r"
$prepare = $hooks['woocommerce_rest_orders_prepare_object_query'];
$insert  = $hooks['woocommerce_rest_pre_insert_shop_order_object'];
$request = new Request();
$answers = array( $prepare( array( 'limit' => 1 ), $request ) );
$request->key = 'pos-1';
$answers[] = $prepare( array( 'limit' => 1, 's' => 'pos-1', 'post__in' => array( 0 ) ), $request );
foreach ( array( array( 'pos-1', true ), array( 'pos-10', true ), array( '', true ), array( 'pos-1', false ) ) as list( $key, $creating ) ) {
	$order = new WC_Order();
	$order->key = $key;
	$answer = $insert( $order, $request, $creating );
	$answers[] = $answer === $order ? 'goes on' : $answer->data['status'];
}
echo json_encode( $answers );
";

#[test]
fn the_shops_plugin_finds_by_the_key_and_refuses_a_second_one() {
    let plugin = folder().join("woocommerce/resyncd-key.php");
    let program = format!("{WORDPRESS} require {:?}; {QUESTIONS}", plugin.display().to_string());
    let Some(mut php) = php("") else { return };
    let output = php.args(["-d", "error_reporting=-1", "-r", &program]).output().expect("php starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let answers: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let query = json!([{"key": "resyncd_key", "value": "pos-1"}]);
    let wanted = json!([{"limit": 1}, {"limit": 1, "meta_query": query}, 409, "goes on", "goes on", "goes on"]);
    assert_eq!(answers, wanted);
}
