<?php
// One of several clients that increment one counter in one session; only the session's lock keeps them apart.
//
//     php counter.php ID TIMES

declare(strict_types=1);
require __DIR__ . '/session.php';

[, $id, $times] = $argv;
$longest = 0.0;
for ($done = 0; $done < (int) $times; $done++) {
    $begun = microtime(true);
    if (!open_session($id)) {
        break;
    }
    $_SESSION['counter'] = ($_SESSION['counter'] ?? 0) + 1;
    if (!session_write_close()) {
        break;
    }
    $longest = max($longest, microtime(true) - $begun);
    // Both extensions only ask for the lock every now and then: this lets the other client have it.
    usleep(random_int(500, 6000));
}
tell(['done' => $done, 'longest' => $longest]);
