-- Each transaction adds one entry and moves the head: a copy that holds half a transaction shows, and so does a lost one.
CREATE DATABASE IF NOT EXISTS ledger;
USE ledger;
CREATE TABLE IF NOT EXISTS entries (seq BIGINT PRIMARY KEY, body MEDIUMTEXT NOT NULL, checksum CHAR(64) NOT NULL) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS head (id TINYINT PRIMARY KEY, last BIGINT NOT NULL, total BIGINT NOT NULL) ENGINE = InnoDB;
INSERT IGNORE INTO head VALUES (1, 0, 0);
