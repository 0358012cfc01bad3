<?php
/**
 * Plugin Name: resyncd key
 * Description: Orders can be found by resyncd's key, and none is made twice. For wp-content/mu-plugins/.
 */
function resyncd_orders_with( $key ) {
	return array( 'key' => 'resyncd_key', 'value' => $key );
}

// GET /wc/v3/orders?resyncd_key=…; it takes the place of WooCommerce's own search.
add_filter( 'woocommerce_rest_orders_prepare_object_query', function ( $args, $request ) {
	if ( $request->get_param( 'resyncd_key' ) !== null ) {
		unset( $args['s'], $args['post__in'] );
		$args['meta_query'][] = resyncd_orders_with( $request->get_param( 'resyncd_key' ) );
	}
	return $args;
}, 10, 2 );

// POST /wc/v3/orders with a key that is there: 409.
add_filter( 'woocommerce_rest_pre_insert_shop_order_object', function ( $order, $request, $creating ) {
	$key = $creating && $order instanceof WC_Order ? (string) $order->get_meta( 'resyncd_key' ) : '';
	if ( $key === '' || ! wc_get_orders( array( 'limit' => 1, 'return' => 'ids', 'meta_query' => array( resyncd_orders_with( $key ) ) ) ) ) {
		return $order;
	}
	return new WP_Error( 'resyncd_key_exists', 'An order with this key exists.', array( 'status' => 409 ) );
}, 10, 3 );
