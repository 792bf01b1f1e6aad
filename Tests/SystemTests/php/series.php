<?php
// Requests to several sessions in turn, one line of JSON each, until a file appears.
//
//     php series.php STOP-FILE ID ...
//
// Each counts in the session that it opens. A session that comes up empty is left alone, as an application does that sends
// its visitor to the login page, and the driver judges it. Times are of the wall clock, which the driver shares.

declare(strict_types=1);
require __DIR__ . '/session.php';

const SECONDS_MAX = 120;

$stop = $argv[1];
$ids = array_slice($argv, 2);
$end = microtime(true) + SECONDS_MAX;
for ($turn = 0; !file_exists($stop) && microtime(true) < $end; $turn++) {
    $id = $ids[$turn % count($ids)];
    $begun = microtime(true);
    $opened = open_session($id);
    $found = $_SESSION['counter'] ?? null;
    $closed = false;
    if ($found === null) {
        session_abort();
    } else {
        $_SESSION['counter'] = $found + 1;
        $closed = session_write_close();
    }
    tell(['id' => $id, 'begun' => $begun, 'ended' => microtime(true), 'opened' => $opened, 'found' => $found, 'closed' => $closed]);
    usleep(5000);
}
