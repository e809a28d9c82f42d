// The vectors come from AWS: the SigV4 test suite (as in awslabs/aws-c-auth,
// tests/aws-signing-test-suite/v4) and the examples of "Authenticating Requests: Using the
// Authorization Header" in the S3 API reference.
#include "core/s3/sigv4.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace veza {
namespace {

constexpr const char* kEmptyHash =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(SigV4, CanonicalFormsOfTheVanillaVector) {
  const SigV4Signature signature =
      SignV4({"GET",
              "/",
              {},
              {{"Host", "example.amazonaws.com"}, {"X-Amz-Date", "20150830T123600Z"}},
              kEmptyHash},
             {"AKIDEXAMPLE", SecretString("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")},
             {"us-east-1", "service", ParseUtc("2015-08-30T12:36:00Z").value()});
  EXPECT_EQ(signature.canonical_request,
            "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\n"
            "host;x-amz-date\n"
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(signature.string_to_sign,
            "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n"
            "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63");
  EXPECT_EQ(signature.authorization,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
            "SignedHeaders=host;x-amz-date,"
            "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

struct SuiteVector {
  const char* name;
  const char* method;
  std::string path;
  NamedValues query;
  NamedValues headers;  // in addition to Host and X-Amz-Date
  const char* payload_hash;
  const char* signature;
};

TEST(SigV4, KnowsTheTestSuite) {
  const std::string unreserved =
      "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const std::string form_hash = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
  const SuiteVector vectors[] = {
      {"get-vanilla-query-order-key-case",
       "GET",
       "/",
       {{"Param2", "value2"}, {"Param1", "value1"}},
       {},
       kEmptyHash,
       "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
      {"get-vanilla-query-order-encoded",
       "GET",
       "/",
       {{"Param-3", "Value3"}, {"Param", "Value2"}, {"\xE1\x88\xB4", "Value1"}},
       {},
       kEmptyHash,
       "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
      {"get-vanilla-query-unreserved",
       "GET",
       "/",
       {{unreserved, unreserved}},
       {},
       kEmptyHash,
       "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
      {"get-header-value-trim",
       "GET",
       "/",
       {},
       {{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\" "}},
       kEmptyHash,
       "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
      {"get-header-key-duplicate",
       "GET",
       "/",
       {},
       {{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}},
       kEmptyHash,
       "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
      {"get-header-value-order",
       "GET",
       "/",
       {},
       {{"My-Header1", "value4"},
        {"My-Header1", "value1"},
        {"My-Header1", "value3"},
        {"My-Header1", "value2"}},
       kEmptyHash,
       "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
      {"get-utf8",
       "GET",
       "/\xE1\x88\xB4",
       {},
       {},
       kEmptyHash,
       "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
      {"get-space-unnormalized",
       "GET",
       "/example space/",
       {},
       {},
       kEmptyHash,
       "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
      {"get-slash-unnormalized",
       "GET",
       "//",
       {},
       {},
       kEmptyHash,
       "c88bcd3d312d75078c0cd961d6deae3f4c754924b01669efcfcb439fd5e5b76e"},
      {"get-vanilla-with-session-token",
       "GET",
       "/",
       {},
       {{"X-Amz-Security-Token",
         "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"}},
       kEmptyHash,
       "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"},
      {"post-sts-header-after",
       "POST",
       "/",
       {},
       {},
       kEmptyHash,
       "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
      {"post-x-www-form-urlencoded",
       "POST",
       "/",
       {},
       {{"Content-Type", "application/x-www-form-urlencoded"},
        {"Content-Length", "13"},
        {"x-amz-content-sha256", form_hash}},
       form_hash.c_str(),
       "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"},
  };
  for (const SuiteVector& vector : vectors) {
    NamedValues headers = vector.headers;
    headers.emplace_back("Host", "example.amazonaws.com");
    headers.emplace_back("X-Amz-Date", "20150830T123600Z");
    const SigV4Signature signature = SignV4(
        {vector.method, UriEncode(vector.path, true), vector.query, headers, vector.payload_hash},
        {"AKIDEXAMPLE", SecretString("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")},
        {"us-east-1", "service", ParseUtc("2015-08-30T12:36:00Z").value()});
    EXPECT_THAT(signature.authorization,
                testing::EndsWith(std::string(",Signature=") + vector.signature))
        << vector.name << "\n"
        << signature.canonical_request;
  }
}

struct S3Example {
  const char* name;
  const char* method;
  const char* key;
  NamedValues query;
  NamedValues headers;  // in addition to those of every request
  const char* payload_hash;
  const char* signed_headers;
  const char* signature;
};

TEST(SigV4, KnowsTheExamplesOfS3) {
  const S3Example examples[] = {
      {"GET Object with a range",
       "GET",
       "test.txt",
       {},
       {{"Range", "bytes=0-9"}},
       kEmptyHash,
       "host;range;x-amz-content-sha256;x-amz-date",
       "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
      {"PUT Object",
       "PUT",
       "test$file.text",
       {},
       {{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
       "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
       "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
       "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
      {"GET Bucket Lifecycle",
       "GET",
       "",
       {{"lifecycle", ""}},
       {},
       kEmptyHash,
       "host;x-amz-content-sha256;x-amz-date",
       "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
      {"List Objects",
       "GET",
       "",
       {{"max-keys", "2"}, {"prefix", "J"}},
       {},
       kEmptyHash,
       "host;x-amz-content-sha256;x-amz-date",
       "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
  };
  for (const S3Example& example : examples) {
    NamedValues headers = example.headers;
    headers.emplace_back("Host", "examplebucket.s3.amazonaws.com");
    headers.emplace_back("x-amz-content-sha256", example.payload_hash);
    headers.emplace_back("x-amz-date", "20130524T000000Z");
    const SigV4Signature signature =
        SignV4({example.method, "/" + UriEncode(example.key, true), example.query, headers,
                example.payload_hash},
               {"AKIAIOSFODNN7EXAMPLE", SecretString("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")},
               {"us-east-1", "s3", ParseUtc("2013-05-24T00:00:00Z").value()});
    EXPECT_EQ(signature.authorization,
              fmt::format("AWS4-HMAC-SHA256 "
                          "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
                          "SignedHeaders={},Signature={}",
                          example.signed_headers, example.signature))
        << example.name << "\n"
        << signature.canonical_request;
  }
}

TEST(SigV4, EncodesWhatIsNotUnreserved) {
  EXPECT_EQ(UriEncode("a/b c+d%~", true), "a/b%20c%2Bd%25~");
  EXPECT_EQ(UriEncode("a/b", false), "a%2Fb");
  EXPECT_EQ(UriEncode("\xC3\xA4", false), "%C3%A4");
  // The names are sorted after they are encoded: "a%2F" comes before "a-".
  EXPECT_EQ(CanonicalQuery({{"a-", "1"}, {"a/", "2"}, {"a", "2"}, {"a", "1"}}),
            "a=1&a=2&a%2F=2&a-=1");
}

}  // namespace
}  // namespace veza
