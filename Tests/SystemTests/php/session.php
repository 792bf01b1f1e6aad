<?php
// What the scripts of this folder share: how they open and close a session, and how they tell what came of it.
//
// The driver chooses extension, protocol and proxy with `php -n -d …`; nothing here knows them.

declare(strict_types=1);

/** Warnings and notices since the last look: nothing that an extension complains about may be lost, but for its age. */
$warnings = [];
set_error_handler(function (int $number, string $text) use (&$warnings): bool {
    if ($number !== E_DEPRECATED) {
        $warnings[] = $text;
    }
    return true;
});

/** Opens the session with an id; null leaves the choice of one to PHP. */
function open_session(?string $id): bool
{
    $_SESSION = [];
    session_id($id ?? '');
    return session_start();
}

/** One line of JSON for the driver. Not echo: a session cannot be started after PHP has seen output. */
function tell(array $what): void
{
    global $warnings;
    fwrite(STDOUT, json_encode($what + ['warnings' => $warnings]) . "\n");
    $warnings = [];
}
