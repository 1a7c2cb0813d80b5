-- From format 1 to format 2: the hash chain, and what is left of what was forgotten. What was appended before has no link.
ALTER TABLE appends ADD COLUMN link BLOB;

CREATE TABLE forgotten (
    first INTEGER PRIMARY KEY,
    last  INTEGER NOT NULL,
    link  BLOB
);

CREATE TABLE floors (
    stream  INTEGER PRIMARY KEY,
    version INTEGER NOT NULL
);

UPDATE meta SET value = '2' WHERE key = 'format';
