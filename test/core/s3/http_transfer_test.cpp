// Tests deadlines, cancellation and network faults against a loopback server.
#include "core/s3/http_transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>

#include <thread>

#include "core/s3/http_client.h"
#include "core/s3/loopback_server.h"
#include "core/storage/store_conformance.h"

namespace veza {
namespace {

using Fault = LoopbackReply::Fault;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

LoopbackServer::Handler Always(LoopbackReply reply) {
  return [reply = std::move(reply)](const LoopbackRequest&) { return reply; };
}

class HttpTest : public testing::Test {
 protected:
  void Connect(int max_connections = 4) {
    client_ = std::make_unique<HttpClient>(options_, max_connections, cancellation_);
  }

  Result<HttpResponse> Get(const std::string& url, Sink sink = {}) {
    HttpRequest request;
    request.method = "GET";
    request.url = url;
    request.purpose = "could not get it";
    request.sink = std::move(sink);
    return client_->Perform(request);
  }

  Result<HttpResponse> Put(const std::string& url, ByteView content) {
    MemoryBody body(content);
    HttpRequest request;
    request.method = "PUT";
    request.url = url;
    request.purpose = "could not put it";
    request.headers = {"expect:"};
    request.body = &body;
    return client_->Perform(request);
  }

  // Expects that a transfer from the server is given up after this time, and not much later.
  void ExpectGivenUp(const LoopbackServer& server, milliseconds after,
                     const testing::Matcher<const std::string&>& message) {
    Connect();
    const auto begin = steady_clock::now();
    const Result<HttpResponse> response = Get(server.endpoint(), [](ByteView) { return Ok(); });
    const auto took = steady_clock::now() - begin;
    ASSERT_FALSE(response);
    EXPECT_EQ(response.error().code, ErrorCode::kDeadlineExceeded);
    EXPECT_TRUE(response.error().retryable);
    EXPECT_THAT(response.error().message, message);
    EXPECT_GE(took, after);
    EXPECT_LT(took, milliseconds(5'000));
  }

  // Cancels as soon as `begun` returns. Returns how long `call` took from then on.
  milliseconds TimeToCancel(const std::function<void()>& begun,
                            const std::function<Result<HttpResponse>()>& call) {
    cancellation_->Reset();
    steady_clock::time_point cancelled;
    std::thread canceller([&] {
      begun();
      // By then the call waits, and libcurl has no timer of its own. (Its timers for connecting
      // take 200 ms.)
      std::this_thread::sleep_for(milliseconds(300));
      cancelled = steady_clock::now();
      cancellation_->Cancel();
    });
    const Result<HttpResponse> response = call();
    const auto ended = steady_clock::now();
    canceller.join();
    EXPECT_FALSE(response);
    EXPECT_EQ(response ? ErrorCode::kInternal : response.error().code, ErrorCode::kCancelled);
    return std::chrono::duration_cast<milliseconds>(ended - cancelled);
  }

  HttpOptions options_;
  std::shared_ptr<Cancellation> cancellation_ = std::make_shared<Cancellation>();
  std::unique_ptr<HttpClient> client_;
};

// A listening socket whose queue is full: connecting to it never ends.
class DeafServer {
 public:
  DeafServer() : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), length);
    listen(listener_.get(), 0);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    for (int i = 0; i < 4; ++i) {
      waiting_.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
      connect(waiting_.back().get(), reinterpret_cast<sockaddr*>(&address), length);
    }
  }
  std::string endpoint() const { return fmt::format("http://127.0.0.1:{}", port_); }

 private:
  UniqueFd listener_;
  std::vector<UniqueFd> waiting_;
  int port_ = 0;
};

TEST_F(HttpTest, StreamsBothWays) {
  const Bytes content = Pattern(9'000'000);
  LoopbackServer server([](const LoopbackRequest& request) {
    return LoopbackReply{200, {{"X-Size", std::to_string(request.body.size())}}, request.body};
  });
  Connect();
  Bytes received;
  MemoryBody body(content);
  HttpRequest request;
  request.method = "PUT";
  request.url = server.endpoint() + "/a";
  request.body = &body;
  request.sink = [&](ByteView piece) {
    received.insert(received.end(), piece.begin(), piece.end());
    return Ok();
  };
  const Result<HttpResponse> response = client_->Perform(request);
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->Header("x-size"), "9000000");
  EXPECT_EQ(response->delivered, content.size());
  EXPECT_TRUE(response->body.empty());
  EXPECT_TRUE(received == content);
}

TEST_F(HttpTest, KeepsItsConnection) {
  LoopbackServer server(Always({200, {}, "body"}));
  Connect();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(Get(server.endpoint()));
    ASSERT_TRUE(Put(server.endpoint(), Pattern(100'000)));
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(HttpTest, AnErrorStatusKeepsTheConnectionToo) {
  LoopbackServer server(Always({404, {}, std::string(200'000, 'x')}));
  Connect();
  for (int i = 0; i < 5; ++i) {
    const Result<HttpResponse> response = Get(server.endpoint(), [](ByteView) -> Status {
      return MakeError(ErrorCode::kInternal, "an error document is not content");
    });
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->status, 404);
    EXPECT_EQ(response->body.size(), 64U << 10);
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(HttpTest, HasNoMoreConnectionsThanAllowed) {
  LoopbackServer server([](const LoopbackRequest&) {
    std::this_thread::sleep_for(milliseconds(20));
    return LoopbackReply{200, {}, "body"};
  });
  Connect(2);
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { good += Get(server.endpoint()) ? 1 : 0; });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(good, 8);
  EXPECT_LE(server.connections(), 2);
}

// The server may close an idle connection at any time. That is not an error.
TEST_F(HttpTest, SurvivesAnIdleConnectionThatWasClosed) {
  LoopbackServer server(Always({200, {}, "body", Fault::kCloseSilently}));
  Connect();
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(milliseconds(20));
    const Result<HttpResponse> response = Put(server.endpoint(), Pattern(1'000));
    ASSERT_TRUE(response) << response.error().message;
  }
  EXPECT_EQ(server.requests().size(), 5U);
}

// libcurl repeats a request when its kept-alive connection has died. But the server may have stored
// the object, so the caller must learn that the outcome is unknown.
TEST_F(HttpTest, NeverSendsAnUploadTwice) {
  std::atomic<int> count = 0;
  LoopbackServer server([&](const LoopbackRequest&) {
    return LoopbackReply{200, {}, "", ++count == 1 ? Fault::kNone : Fault::kDrop};
  });
  Connect();
  ASSERT_TRUE(Put(server.endpoint(), Pattern(1'000)));
  const Result<HttpResponse> response = Put(server.endpoint(), Pattern(1'000));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(response.error().retryable);
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST_F(HttpTest, LostConnectionsAreRetryable) {
  for (const Fault fault : {Fault::kDrop, Fault::kTruncate}) {
    LoopbackServer server(Always({200, {}, std::string(1'000'000, 'x'), fault}));
    Connect();
    std::size_t taken = 0;
    const Result<HttpResponse> response = Get(server.endpoint(), [&](ByteView piece) {
      taken += piece.size();
      return Ok();
    });
    ASSERT_FALSE(response);
    EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(response.error().retryable);
    EXPECT_THAT(response.error().message, testing::StartsWith("could not get it: "));
    EXPECT_EQ(taken, fault == Fault::kTruncate ? 500'000U : 0U);
  }
}

TEST_F(HttpTest, AStalledTransferEnds) {
  options_.stall_timeout = milliseconds(200);
  for (const Fault fault : {Fault::kStall, Fault::kSayNothing}) {
    LoopbackServer server(Always({200, {}, std::string(100'000, 'x'), fault}));
    ExpectGivenUp(server, milliseconds(200),
                  testing::StartsWith("could not get it: no data was transferred within 200 ms"));
  }
}

TEST_F(HttpTest, AStalledUploadEnds) {
  options_.stall_timeout = milliseconds(200);
  LoopbackServer server(Always({}));
  server.StopReadingBodies();
  Connect();
  const Result<HttpResponse> response = Put(server.endpoint(), Pattern(30'000'000));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kDeadlineExceeded);
}

// Slow progress is not a stall. It is allowed up to the total deadline.
TEST_F(HttpTest, ASlowTransferEndsAtTheTotalDeadline) {
  LoopbackServer server(Always({200, {}, std::string(20, 'x'), Fault::kTrickle}));
  options_.stall_timeout = milliseconds(250);
  Connect();
  EXPECT_TRUE(Get(server.endpoint(), [](ByteView) { return Ok(); }));

  options_.total_timeout = milliseconds(150);
  Connect();
  const Result<HttpResponse> response = Get(server.endpoint(), [](ByteView) { return Ok(); });
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(response.error().retryable);
  EXPECT_THAT(response.error().message, HasSubstr("did not end within 150 ms"));
}

TEST_F(HttpTest, ATransferThatOnlyTricklesEnds) {
  options_.slow_timeout = milliseconds(500);
  for (const Fault fault : {Fault::kTrickle, Fault::kTrickleHeader}) {
    for (const int status : {200, 403}) {
      LoopbackServer server(Always({status, {}, std::string(100'000, 'x'), fault}));
      ExpectGivenUp(
          server, milliseconds(500),
          testing::MatchesRegex(
              "could not get it: no more than [0-9]+ bytes were transferred within 500 ms"));
    }
  }
}

// A slow body of our own is not the server's fault.
class SlowBody final : public Body {
 public:
  std::uint64_t size() const override { return 20; }
  Status Rewind() override { return Ok(); }
  Result<std::size_t> Read(MutableByteView into) override {
    std::this_thread::sleep_for(milliseconds(50));
    into[0] = 'x';
    return read_++ < 20 ? 1 : 0;
  }

 private:
  int read_ = 0;
};

TEST_F(HttpTest, ASlowBodyIsNotATrickle) {
  LoopbackServer server(Always({}));
  options_.slow_timeout = milliseconds(500);
  Connect();
  SlowBody body;
  HttpRequest request;
  request.method = "PUT";
  request.url = server.endpoint();
  request.headers = {"expect:"};
  request.body = &body;
  const Result<HttpResponse> put = client_->Perform(request);
  EXPECT_TRUE(put) << put.error().message;
}

// A slow response is not a slow transfer.
TEST_F(HttpTest, ALateResponseIsNotATrickle) {
  LoopbackServer server([](const LoopbackRequest&) {
    std::this_thread::sleep_for(milliseconds(2400));
    return LoopbackReply{};
  });
  options_.slow_timeout = milliseconds(2000);
  Connect();
  const Result<HttpResponse> response = Put(server.endpoint(), Pattern(3'000'000));
  EXPECT_TRUE(response) << response.error().message;
}

// A slow sink (a full disk queue, a rate limit) is not a stall of the network.
TEST_F(HttpTest, ASlowSinkIsNotAStall) {
  LoopbackServer server(Always({200, {}, std::string(1'000'000, 'x')}));
  options_.stall_timeout = milliseconds(100);
  Connect();
  bool slept = false;
  const Result<HttpResponse> response = Get(server.endpoint(), [&](ByteView) {
    if (!slept) {
      std::this_thread::sleep_for(milliseconds(300));
      slept = true;
    }
    return Ok();
  });
  EXPECT_TRUE(response) << response.error().message;
}

TEST_F(HttpTest, ConnectingHasADeadline) {
  const DeafServer server;
  options_.connect_timeout = milliseconds(200);
  Connect();
  const auto begin = steady_clock::now();
  const Result<HttpResponse> response = Get(server.endpoint());
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(response.error().retryable);
  EXPECT_THAT(response.error().hint, HasSubstr("veza_backup.s3_endpoint"));
  EXPECT_LT(steady_clock::now() - begin, milliseconds(5'000));
}

TEST_F(HttpTest, CancelEndsARequestAtOnce) {
  Connect();
  {
    const DeafServer server;
    EXPECT_LT(TimeToCancel([] {}, [&] { return Get(server.endpoint()); }), milliseconds(200));
  }
  {
    LoopbackServer server(Always({200, {}, "x", Fault::kSayNothing}));
    EXPECT_LT(
        TimeToCancel([&] { server.WaitForRequests(1); }, [&] { return Get(server.endpoint()); }),
        milliseconds(200));
  }
  {
    LoopbackServer server(Always({200, {}, std::string(1'000'000, 'x'), Fault::kStall}));
    EXPECT_LT(TimeToCancel([&] { server.WaitForRequests(1); },
                           [&] { return Get(server.endpoint(), [](ByteView) { return Ok(); }); }),
              milliseconds(200));
  }
  {
    LoopbackServer server(Always({}));
    server.StopReadingBodies();
    const Bytes content = Pattern(30'000'000);
    EXPECT_LT(TimeToCancel([&] { server.WaitForRequests(1); },
                           [&] { return Put(server.endpoint(), content); }),
              milliseconds(200));
  }
}

TEST_F(HttpTest, CancelEndsTheWaitForAConnection) {
  LoopbackServer server(Always({200, {}, "x", Fault::kSayNothing}));
  Connect(1);
  std::thread holder([&] { EXPECT_FALSE(Get(server.endpoint())); });
  EXPECT_LT(
      TimeToCancel([&] { server.WaitForRequests(1); }, [&] { return Get(server.endpoint()); }),
      milliseconds(200));
  holder.join();
}

TEST_F(HttpTest, FollowsNoRedirectAndUsesNoProxy) {
  LoopbackServer other(Always({200, {}, "wrong"}));
  LoopbackServer server(Always({307, {{"Location", other.endpoint()}}, "x"}));
  setenv("http_proxy", other.endpoint().c_str(), 1);
  Connect();
  const Result<HttpResponse> response = Get(server.endpoint());
  unsetenv("http_proxy");
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 307);
  EXPECT_EQ(other.connections(), 0);
}

TEST_F(HttpTest, AProxyPassesOnWhatIsNotSecret) {
  LoopbackServer proxy(Always({200, {}, "passed on"}));
  options_.proxy = proxy.endpoint();
  options_.proxy_login = "backup:p%40:w";
  setenv("no_proxy", "*", 1);
  Connect();
  const Result<HttpResponse> response = Get("http://store.example.com:9000/bucket/a");
  unsetenv("no_proxy");
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body, "passed on");
  LoopbackRequest request = proxy.requests().at(0);
  EXPECT_EQ(request.target, "http://store.example.com:9000/bucket/a");
  EXPECT_EQ(request.headers["host"], "store.example.com:9000");
  EXPECT_EQ(request.headers["proxy-authorization"], "Basic YmFja3VwOnAlNDA6dw==");
}

// A tunnel is all that the proxy learns of. The headers of the request are for the server.
TEST_F(HttpTest, AProxyThatOpensNoTunnelIsNamed) {
  int status = 407;
  LoopbackServer proxy([&](const LoopbackRequest&) { return LoopbackReply{status, {}, "no"}; });
  options_.proxy = proxy.endpoint();
  options_.proxy_login = "backup:hunter2";
  Connect();
  HttpRequest request;
  request.method = "GET";
  request.url = "https://store.example.com/bucket/a";
  request.purpose = "could not get it";
  request.headers = {"x-amz-security-token: secret"};
  const Result<HttpResponse> stranger = client_->Perform(request);
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().code, ErrorCode::kPermissionDenied) << stranger.error().message;
  EXPECT_FALSE(stranger.error().retryable);
  EXPECT_THAT(stranger.error().message, HasSubstr(proxy.endpoint()));
  EXPECT_THAT(stranger.error().message, testing::Not(HasSubstr("hunter2")));
  EXPECT_THAT(stranger.error().hint, HasSubstr("s3_proxy_login_file"));
  LoopbackRequest asked = proxy.requests().at(0);
  EXPECT_EQ(asked.method, "CONNECT");
  EXPECT_EQ(asked.target, "store.example.com:443");
  EXPECT_FALSE(asked.headers.contains("x-amz-security-token"));
  EXPECT_TRUE(asked.headers.contains("proxy-authorization"));

  status = 503;
  const Result<HttpResponse> refused = client_->Perform(request);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(refused.error().retryable);
  EXPECT_THAT(refused.error().message, HasSubstr("503"));
  EXPECT_THAT(refused.error().hint, HasSubstr("veza_backup.s3_proxy "));
}

TEST_F(HttpTest, AProxyThatIsAwayIsNamed) {
  {
    LoopbackServer proxy(Always({}));
    options_.proxy = proxy.endpoint();
  }
  Connect();
  const Result<HttpResponse> response = Get("http://store.example.com/bucket/a");
  ASSERT_FALSE(response);
  EXPECT_TRUE(response.error().retryable);
  EXPECT_THAT(response.error().message,
              HasSubstr(fmt::format("could not connect to the proxy \"{}\"", options_.proxy)));
  EXPECT_THAT(response.error().hint, HasSubstr("veza_backup.s3_proxy"));
}

TEST_F(HttpTest, SkipsInterimAnswers) {
  LoopbackServer server(
      Always({.raw = "HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n"
                     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Final: 1\r\n\r\nok"}));
  Connect();
  const Result<HttpResponse> response = Get(server.endpoint());
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->Header("x-final"), "1");
  EXPECT_EQ(response->Header("x-interim"), "");
  EXPECT_EQ(response->body, "ok");
}

TEST_F(HttpTest, AResponseHasLimits) {
  Connect();
  {
    LoopbackServer server(Always({200, {}, std::string(65'537, 'x')}));
    EXPECT_EQ(Get(server.endpoint()).error().code, ErrorCode::kUnavailable);
  }
  {
    std::string head = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 1'000; ++i) {
      head += fmt::format("X-{}: {}\r\n", i, std::string(100, 'x'));
    }
    LoopbackServer server(Always({.raw = head + "\r\n"}));
    EXPECT_EQ(Get(server.endpoint()).error().code, ErrorCode::kUnavailable);
  }
}

TEST_F(HttpTest, SaysWhenTheServerDoesNotSpeakHttp) {
  LoopbackServer server(Always({.raw = "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"}));
  Connect();
  const Result<HttpResponse> response = Get(server.endpoint());
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(response.error().hint, HasSubstr("veza_backup.s3_endpoint"));
}

TEST_F(HttpTest, HintsAtTheSchemeWhenNothingIsAnswered) {
  LoopbackServer server(Always({200, {}, "", Fault::kDrop}));
  Connect();
  const Result<HttpResponse> response = Get(server.endpoint());
  ASSERT_FALSE(response);
  EXPECT_THAT(response.error().hint, HasSubstr("\"https://...\""));
}

TEST_F(HttpTest, SaysWhatIsWrongWithACertificate) {
  EXPECT_THAT(CertificateHint(X509_V_ERR_CERT_HAS_EXPIRED), HasSubstr("Renew"));
  EXPECT_THAT(CertificateHint(X509_V_ERR_CERT_HAS_EXPIRED), testing::Not(HasSubstr("s3_")));
  EXPECT_THAT(CertificateHint(X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN), HasSubstr("s3_ca_file"));
  EXPECT_THAT(CertificateHint(X509_V_ERR_UNSPECIFIED), HasSubstr("s3_endpoint"));
}

TEST_F(HttpTest, SaysWhenNobodyListens) {
  std::string endpoint;
  {
    LoopbackServer server(Always({}));
    endpoint = server.endpoint();
  }
  Connect();
  const Result<HttpResponse> response = Get(endpoint);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(response.error().retryable);
  EXPECT_THAT(response.error().message, HasSubstr("could not connect"));
  EXPECT_THAT(response.error().hint, HasSubstr("veza_backup.s3_endpoint"));
}

TEST_F(HttpTest, SaysWhenTheHostHasNoAddress) {
  Connect();
  const Result<HttpResponse> response = Get("http://no-such-host.invalid");
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(response.error().retryable);
  EXPECT_THAT(response.error().hint, HasSubstr("veza_backup.s3_endpoint"));
}

TEST_F(HttpTest, AnExceptionOfTheSinkBecomesAnError) {
  LoopbackServer server(Always({200, {}, "body"}));
  Connect();
  const Result<HttpResponse> response =
      Get(server.endpoint(), [](ByteView) -> Status { throw std::bad_alloc(); });
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kInternal);
}

// A server process must handle signals in its main thread only.
TEST_F(HttpTest, LeavesTheSignalMaskAsItWas) {
  sigset_t before;
  sigemptyset(&before);
  sigaddset(&before, SIGUSR2);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  LoopbackServer server(Always({200, {}, "body"}));
  Connect();
  EXPECT_TRUE(Get(server.endpoint()));
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGUSR2), 1);
  EXPECT_EQ(sigismember(&after, SIGTERM), 0);
  EXPECT_EQ(sigismember(&after, SIGPIPE), 0);
  sigemptyset(&before);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace veza
