# shellcheck shell=bash
# mariadb.sh create|update DIR ROWS UPDATES: a MariaDB data directory, shut down cleanly, before and after random updates.
# Its bootstrap mode runs what it reads, listens nowhere, and shuts down at the end.
verb=$1 dir=$2 rows=$3 updates=$4
run() { mariadbd --no-defaults --bootstrap --user="$(id -un)" --datadir="$dir" --innodb-buffer-pool-size=512M; }
case $verb in
  create)
    mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$dir" --auth-root-authentication-method=normal --skip-test-db
    run <<SQL
CREATE DATABASE shop;
CREATE TABLE shop.item (id INT PRIMARY KEY, price INT NOT NULL, name CHAR(32) NOT NULL, INDEX (price)) ENGINE=InnoDB;
INSERT INTO shop.item SELECT seq, seq * 7919 % 100000, md5(seq) FROM shop.seq_1_to_$rows;
SQL
    ;;
  update)
    run <<SQL
UPDATE shop.item JOIN (SELECT DISTINCT 1 + floor(rand(7) * $rows) AS id FROM shop.seq_1_to_$updates) AS drawn USING (id)
  SET price = price + 1, name = md5(name);
SQL
    ;;
esac
