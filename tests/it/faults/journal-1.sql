-- A journal of schema version 1, as hfd 0.1.0 wrote it. Times count from an hour before it is read, the namespace is not bound.
PRAGMA application_id = 1751540842;
CREATE TABLE meta (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    oldest_reader INTEGER NOT NULL,
    journal BLOB NOT NULL CHECK (length(journal) = 8),
    namespace BLOB CHECK (length(namespace) = 16),
    adopted_journals BLOB NOT NULL CHECK (length(adopted_journals) % 8 = 0),
    alive_at INTEGER NOT NULL
) STRICT;
CREATE TABLE manifests (
    hash BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    body TEXT NOT NULL
) STRICT;
CREATE TABLE requests (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 10),
    template TEXT NOT NULL,
    manifest BLOB REFERENCES manifests DEFERRABLE INITIALLY DEFERRED,
    count INTEGER NOT NULL CHECK (count BETWEEN 0 AND 100000),
    granted INTEGER NOT NULL,
    limited TEXT,
    ready_deadline INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    adopted INTEGER NOT NULL CHECK (adopted IN (0, 1)),
    key TEXT,
    key_body BLOB CHECK (length(key_body) = 32),
    caller_uid INTEGER NOT NULL,
    caller_pid INTEGER NOT NULL,
    polled INTEGER NOT NULL CHECK (polled IN (0, 1)),
    cancelled TEXT,
    ended_at INTEGER,
    succeeded BLOB,
    CHECK ((key IS NULL) = (key_body IS NULL)),
    CHECK ((ended_at IS NULL) = (succeeded IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_manifest ON requests (manifest);
CREATE TABLE machines (
    request BLOB NOT NULL REFERENCES requests ON DELETE CASCADE,
    ordinal INTEGER NOT NULL CHECK (ordinal BETWEEN 0 AND 99999),
    uid BLOB CHECK (length(uid) = 16),
    uid_recorded_at INTEGER NOT NULL,
    ip BLOB CHECK (length(ip) IN (4, 16)),
    first_ready INTEGER,
    verdict INTEGER CHECK (verdict IN (0, 1, 2)),
    verdict_message TEXT,
    verdict_at INTEGER,
    returned_by BLOB CHECK (length(returned_by) = 10),
    gone_at INTEGER,
    PRIMARY KEY (request, ordinal),
    CHECK ((verdict IS NULL) = (verdict_message IS NULL) AND (verdict IS NULL) = (verdict_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE TABLE returns (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 10),
    count INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    key TEXT,
    key_body BLOB CHECK (length(key_body) = 32),
    caller_uid INTEGER NOT NULL,
    caller_pid INTEGER NOT NULL,
    ended_at INTEGER,
    told_at INTEGER,
    CHECK ((key IS NULL) = (key_body IS NULL))
) STRICT, WITHOUT ROWID;
CREATE TABLE return_entries (
    return BLOB NOT NULL REFERENCES returns ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    machine_id TEXT,
    machine_request BLOB CHECK (length(machine_request) = 10),
    machine_ordinal INTEGER CHECK (machine_ordinal BETWEEN 0 AND 99999),
    ip BLOB CHECK (length(ip) IN (4, 16)),
    launchtime INTEGER NOT NULL,
    ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
    failure TEXT,
    PRIMARY KEY (return, position),
    CHECK ((machine_request IS NULL) = (machine_ordinal IS NULL)),
    CHECK (failure IS NULL OR ended = 1)
) STRICT, WITHOUT ROWID;
BEGIN;
INSERT INTO meta (only, oldest_reader, journal, namespace, adopted_journals, alive_at) VALUES
    (1, 1, x'bbeb7711f18359ae', NULL, x'', unixepoch() - 3600 + 0);
INSERT INTO manifests (hash, body) VALUES
    (x'f33fcacfe5497b934dc8255e809b199029b609d19f9e45fad475874e5909265f', '{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"app.kubernetes.io/name":"symphony-compute"}},"spec":{"restartPolicy":"Never","automountServiceAccountToken":false,"terminationGracePeriodSeconds":30,"containers":[{"name":"compute","image":"symphony-compute:7.3.2","command":["sleep","infinity"],"resources":{"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"memory":"128Mi"}}}]}}');
INSERT INTO requests (id, template, manifest, count, granted, limited, ready_deadline, accepted_at, adopted, key, key_body, caller_uid, caller_pid, polled, cancelled, ended_at, succeeded) VALUES
    (x'bb1cd172d41048d31025', 'compute-small', x'f33fcacfe5497b934dc8255e809b199029b609d19f9e45fad475874e5909265f', 2, 2, NULL, 300, unixepoch() - 3600 + 0, 0, 'golden-key', x'59dd73ef841ad84f492594ca976df23a845c05b00309bc184bbed7bc26f9d499', 0, 25057, 1, NULL, unixepoch() - 3600 + 2, x'03');
INSERT INTO machines (request, ordinal, uid, uid_recorded_at, ip, first_ready, verdict, verdict_message, verdict_at, returned_by, gone_at) VALUES
    (x'bb1cd172d41048d31025', 0, x'8f369b527aed48669faa0e0146d954ee', unixepoch() - 3600 + 0, x'0af40002', unixepoch() - 3600 + 2, NULL, NULL, NULL, NULL, NULL);
INSERT INTO machines (request, ordinal, uid, uid_recorded_at, ip, first_ready, verdict, verdict_message, verdict_at, returned_by, gone_at) VALUES
    (x'bb1cd172d41048d31025', 1, x'73bce54bb70d46e29120499738de06e0', unixepoch() - 3600 + 0, x'0af40001', unixepoch() - 3600 + 1, NULL, NULL, NULL, x'9326ba78d0556b630d73', unixepoch() - 3600 + 2);
INSERT INTO returns (id, count, accepted_at, deadline, key, key_body, caller_uid, caller_pid, ended_at, told_at) VALUES
    (x'9326ba78d0556b630d73', 1, unixepoch() - 3600 + 2, 1800, '927476089326a0e2e912b1f812ea9866', x'c472fd6268723df3791d8c5e0fa69d9b4d5474154c19e5f9fb2cf8731684046a', 0, 25639, unixepoch() - 3600 + 2, unixepoch() - 3600 + 4);
INSERT INTO return_entries ("return", position, name, machine_id, machine_request, machine_ordinal, ip, launchtime, ended, failure) VALUES
    (x'9326ba78d0556b630d73', 0, 'xmonc4wucbengebf-00001', '73bce54b-b70d-46e2-9120-499738de06e0', x'bb1cd172d41048d31025', 1, x'0af40001', unixepoch() - 3600 + 1, 1, NULL);
COMMIT;
PRAGMA user_version = 1;
