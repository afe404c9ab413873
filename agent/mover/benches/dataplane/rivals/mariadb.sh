# shellcheck shell=bash
# mariadb.sh create|update DIR ROWS UPDATES: a MariaDB data directory, shut down cleanly, before and after random updates.
# mariadb.sh entries DIR FIRST COUNT: so many transactions of the demo's database (tests/demo/database/write), which is made if there is none.
# Its bootstrap mode runs what it reads, listens nowhere, and shuts down at the end.
verb=$1 dir=$2 rows=$3 updates=$4
run() { mariadbd --no-defaults --bootstrap --user="$(id -un)" --datadir="$dir" --innodb-buffer-pool-size=512M; }
install() { mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$dir" --auth-root-authentication-method=normal --skip-test-db; }
case $verb in
  create)
    install
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
  entries)
    [ -e "$dir/mysql" ] || install
    {
      printf '%s\n' "$SCHEMA"
      for ((n = rows + 1; n <= rows + updates; n++)); do
        printf '%s;\n' 'START TRANSACTION' "SET @body = REPEAT(SHA2($n, 256), 1 + $n % 50)" \
          "INSERT INTO entries VALUES ($n, @body, SHA2(CONCAT($n, ':', @body), 256))" \
          "UPDATE head SET last = $n, total = total + CRC32(@body)" COMMIT
      done
    } | run
    ;;
esac
