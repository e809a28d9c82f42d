# shellcheck shell=bash
# What is needed around any S3 server on loopback; sourced by rgw.sh and by test/compat.sh.

# Prints as many free loopback ports as asked for, below the range that outgoing connections use.
free_ports() {
  /usr/bin/python3 - "$1" <<'PY'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(15000, 32000)))
        held.append(s)
    except OSError:
        pass
print(*(s.getsockname()[1] for s in held))
PY
}

# A certificate authority of the test's own, and a server certificate for the loopback address, in a directory.
make_certificates() {
  (
    cd "$1" || return
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=veza test CA" \
      -keyout ca.key -out ca.pem
    openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout server.key -out server.csr
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
      -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out server.pem
  )
}

# A request of $access_key with $secret_key.
# The payload is declared unsigned because curl 7.88 signs with a digest header that it never sends.
# shellcheck disable=SC2154 # they are the caller's
s3_curl() {
  curl --silent --show-error --fail --max-time 20 --aws-sigv4 aws:amz:us-east-1:s3 \
    --user "$access_key:$secret_key" --header "x-amz-content-sha256: UNSIGNED-PAYLOAD" "$@"
}
