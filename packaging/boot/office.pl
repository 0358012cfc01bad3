#!/usr/bin/perl
# A head office in small, with what every Debian has: answers each POST with 201 and writes its entity, in the
# order of arrival, into a file. With a token as third argument it lets in nobody without it.
#   office.pl PORT FILE [TOKEN]
use strict;
use warnings;
use IO::Socket::INET;

my ($port, $file, $token) = @ARGV;
my $office = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 64, ReuseAddr => 1)
    or die "listening at $port: $!";
while (1) {
    my $client = $office->accept or next;
    my ($first, $length, $bearer) = (scalar(<$client>) // '', 0, '');
    while (defined(my $line = <$client>)) {
        last if $line =~ /^\r?\n$/;
        $length = $1 if $line =~ /^content-length:\s*(\d+)/i;
        $bearer = $1 if $line =~ /^authorization:\s*Bearer\s+(\S+)/i;
    }
    read($client, my $body, $length) if $length;
    my $status = '200 OK';
    if (defined $token && $bearer ne $token) {
        $status = '401 Unauthorized';
    } elsif ($first =~ /^POST/) {
        my ($entity) = ($body // '') =~ /"entity_id":"([^"]+)"/;
        open(my $out, '>>', $file) or die "writing $file: $!";
        print $out ($entity // '?'), "\n";
        close $out;
        $status = '201 Created';
    }
    print $client "HTTP/1.1 $status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    close $client;
}
