<?php
// One request of a web application: opens a session, does to it what the arguments say, closes it.
//
//     php request.php ID [NAME=VALUE | regenerate | destroy] ...
//
// With ID '-' there is none yet. Without further arguments the session is closed as it was found.

declare(strict_types=1);
require __DIR__ . '/session.php';

$begun = microtime(true);
$opened = open_session($argv[1] === '-' ? null : $argv[1]);
$told = ['opened' => $opened, 'opened_id' => session_id(), 'found' => (object) $_SESSION];
foreach (array_slice($argv, 2) as $action) {
    if ($action === 'regenerate') {
        $told['regenerated'] = session_regenerate_id(true);
    } elseif ($action === 'destroy') {
        $told['destroyed'] = session_destroy();
    } else {
        [$name, $value] = explode('=', $action, 2);
        $_SESSION[$name] = $value;
    }
}
$told['id'] = session_id();
$told['closed'] = session_status() !== PHP_SESSION_ACTIVE || session_write_close();
tell($told + ['seconds' => microtime(true) - $begun]);
