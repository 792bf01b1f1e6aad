<?php
// What php-memcache stores besides sessions: it marks a value's type in flags of 256 and more, and its compression in 2.
//
//     php values.php HOST PORT PREFIX write      stores one value of each type, and increments the number
//     php values.php HOST PORT PREFIX read       reads them
//     php values.php HOST PORT PREFIX miss       asks for them one by one, whether there is a server to ask or not

declare(strict_types=1);
require __DIR__ . '/session.php';

[, $host, $port, $prefix, $what] = $argv;
$values = [
    'integer' => 41,
    'float' => 2.5,
    'true' => true,
    'false' => false,
    'text' => 'plain text',
    'array' => ['a' => 1, 'b' => [true, null]],
    'long' => str_repeat('compressible ', 4000),
];
$memcache = new Memcache();
$memcache->addServer($host, (int) $port);
$refused = [];
$different = [];
$missing = [];
if ($what === 'write') {
    foreach ($values as $name => $value) {
        if (!$memcache->set($prefix . $name, $value, $name === 'long' ? MEMCACHE_COMPRESSED : 0, 600)) {
            $refused[] = $name;
        }
    }
    if ($memcache->increment($prefix . 'integer', 2) !== 43 || $memcache->decrement($prefix . 'integer') !== 42) {
        $refused[] = 'increment and decrement';
    }
} else {
    $values['integer'] = 42;
    foreach ($values as $name => $value) {
        $flags = null;
        $found = $memcache->get($prefix . $name, $flags);
        if ($flags === null) {
            $missing[] = $name;
        } elseif ($found !== $value) {
            $different[] = $name . ' is ' . substr(json_encode($found), 0, 60);
        }
    }
}
tell([
    'refused' => $refused, 'different' => $different, 'missing' => $missing,
    // 0 once the extension has given the server up.
    'server' => $memcache->getServerStatus($host, (int) $port),
]);
