// What scrypt has given for a passphrase and a salt, remembered for the other processes of the server tests.
//
// scrypt takes a tenth of a second on purpose, whenever a process opens a repository. The server tests open
// theirs thousands of times: it was a third of all their CPU time. Loaded with LD_PRELOAD, this replaces
// EVP_PBE_scrypt() by one that computes it once for the same arguments. The result is scrypt's own, so repositories
// are what they are without it. Results are files in the directory that VEZA_TEST_SCRYPT_MEMO names. Where that
// is missing or cannot be read, for example in a sandbox, scrypt is computed.
//
// In C, so that programs that need no C++ library do not load one.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int Scrypt(const char* pass, size_t passlen, const unsigned char* salt, size_t saltlen, uint64_t n,
                   uint64_t r, uint64_t p, uint64_t maxmem, unsigned char* key, size_t keylen);

enum { kMaximum = 1024 };  // of passphrase, salt and key, each

// A file holds one of these, from beginning to end.
struct Memo {
  uint64_t numbers[7];
  char pass[kMaximum];
  unsigned char salt[kMaximum];
  unsigned char key[kMaximum];
};

// Only a name: the file says what it is for.
static uint64_t HashOf(const struct Memo* memo) {
  const unsigned char* bytes = (const unsigned char*)memo;
  uint64_t hash = 14695981039346656037U;  // FNV-1a
  for (size_t i = 0; i < offsetof(struct Memo, key); ++i) {
    hash = (hash ^ bytes[i]) * 1099511628211U;
  }
  return hash;
}

static bool Recall(const char* path, struct Memo* memo) {
  struct Memo stored;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return false;
  }
  const bool whole = read(file, &stored, sizeof stored) == sizeof stored;
  close(file);
  if (!whole || memcmp(&stored, memo, offsetof(struct Memo, key)) != 0) {
    return false;
  }
  memcpy(memo->key, stored.key, sizeof memo->key);
  return true;
}

static void Remember(const char* path, const struct Memo* memo) {
  char temporary[4200];
  snprintf(temporary, sizeof temporary, "%s.%ld.%p", path, (long)getpid(), (void*)memo);
  const int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) {
    return;
  }
  const bool whole = write(file, memo, sizeof *memo) == sizeof *memo;
  close(file);
  if (!whole || rename(temporary, path) != 0) {
    unlink(temporary);
  }
}

int EVP_PBE_scrypt(const char* pass, size_t passlen, const unsigned char* salt, size_t saltlen, uint64_t n,
                   uint64_t r, uint64_t p, uint64_t maxmem, unsigned char* key, size_t keylen) {
  Scrypt* scrypt = (Scrypt*)dlsym(RTLD_NEXT, "EVP_PBE_scrypt");
  const char* directory = getenv("VEZA_TEST_SCRYPT_MEMO");
  if (scrypt == NULL) {
    // Python loads libcrypto for one of its modules only. The second reader, which is written in it, computes scrypt
    // by itself.
    void* const crypto = dlopen("libcrypto.so.3", RTLD_LAZY);
    scrypt = crypto == NULL ? NULL : (Scrypt*)dlsym(crypto, "EVP_PBE_scrypt");
    directory = NULL;
  }
  if (scrypt == NULL) {
    return 0;
  }
  if (directory == NULL || key == NULL || passlen > kMaximum || saltlen > kMaximum || keylen > kMaximum) {
    return scrypt(pass, passlen, salt, saltlen, n, r, p, maxmem, key, keylen);
  }
  struct Memo memo = {.numbers = {passlen, saltlen, n, r, p, maxmem, keylen}};
  char path[4096];
  memcpy(memo.pass, pass, passlen);
  memcpy(memo.salt, salt, saltlen);
  snprintf(path, sizeof path, "%s/%016llx", directory, (unsigned long long)HashOf(&memo));
  if (Recall(path, &memo)) {
    memcpy(key, memo.key, keylen);
    return 1;
  }
  const int done = scrypt(pass, passlen, salt, saltlen, n, r, p, maxmem, key, keylen);
  if (done == 1) {
    memcpy(memo.key, key, keylen);
    Remember(path, &memo);
  }
  return done;
}
