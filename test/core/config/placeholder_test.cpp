#include "core/config/placeholder.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

TEST(Placeholder, WhatTemplatesLeaveBehind) {
  for (const char* value :
       {"<bucket>", "<your passphrase here>", "${S3_KEY}", "{{ s3_key }}", "CHANGEME", "change-me",
        "Change_Me!", "REPLACE_ME", "replace-me", "YOUR_ACCESS_KEY", "your-bucket", "xxx",
        "XXXXXXXXXXXXXXXX", "TODO", "placeholder"}) {
    EXPECT_TRUE(IsPlaceholder(value)) << value;
    EXPECT_TRUE(IsPlaceholderSecret(value)) << value;
  }
}

TEST(Placeholder, ValuesTooObviousForASecret) {
  for (const char* value :
       {"secret", "password", "passphrase", "Password1", "my-secret-passphrase",
        "your secret key here", "super-secret-password-123", "changeme-changeme-1",
        "REPLACE_WITH_A_KEY", "aaaaaaaaaaaaaaaaaaaa", "****************", "................"}) {
    EXPECT_TRUE(IsPlaceholderSecret(value)) << value;
  }
}

TEST(Placeholder, RealValuesPass) {
  for (const char* value : {"",
                            "x",
                            "main",
                            "/srv/backup",
                            "s3://company-backup/pg",
                            "https://s3.example.com",
                            "correct horse battery staple",
                            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzz",
                            "AKIAIOSFODNN7QQQQ",
                            "your mother eats 12 llamas",
                            "keyboardcat 7 times a day",
                            "1234567890123456",
                            "9f2c6b1e8d7a4c5f",
                            "Passphrase of the Nebelhorn 1912",
                            "A1",
                            "test",
                            "access",
                            "testkey1",
                            "secretary of state",
                            "the key is under the mat"}) {
    EXPECT_FALSE(IsPlaceholder(value)) << value;
    EXPECT_FALSE(IsPlaceholderSecret(value)) << value;
  }
}

}  // namespace
}  // namespace veza
