<?php
// A real SOAP server: PHP's own, without a WSDL. Its books are the lines of the file BOOKS; of a key that
// begins with "till-07/lost" it books the first sale and kills itself before it responds.
class Sales {
	private function books() {
		return file_exists( getenv( 'BOOKS' ) ) ? file( getenv( 'BOOKS' ), FILE_IGNORE_NEW_LINES ) : array();
	}
	public function RecordSale( $total, $key ) {
		if ( ! is_numeric( $total ) ) {
			throw new SoapFault( 'Client', "Total is no number: $total" );
		}
		$known = in_array( $key, $this->books(), true );
		file_put_contents( getenv( 'BOOKS' ), "$key\n", FILE_APPEND );
		if ( ! $known && strpos( $key, 'till-07/lost' ) === 0 ) {
			posix_kill( getmypid(), SIGKILL );
		}
		return 1;
	}
	public function FindSale( $key ) {
		// What it has not booked is null, or false, as PHP's own functions say it.
		return in_array( $key, $this->books(), true ) ? 1 : ( 'till-07/own-false' === $key ? false : null );
	}
}
$server = new SoapServer( null, array( 'uri' => 'urn:chain:sales' ) );
$server->setClass( 'Sales' );
$server->handle();
