// A tiny HTTP/1.1 server on a loopback port, for the faults that a real S3 server does not have on
// demand. One thread a connection; connections are kept alive.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/storage/unique_fd.h"

namespace veza {

struct LoopbackRequest {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  // The value of a query parameter, decoded; "(none)" if there is none.
  std::string Query(const std::string& name) const;
};

struct LoopbackReply {
  enum class Fault {
    kNone,
    kDrop,           // close instead of answering
    kTruncate,       // close after half of the body
    kStall,          // say nothing after half of the body
    kTrickle,        // a byte of the body every 20 ms
    kTrickleHeader,  // a line of the header every 20 ms, for ever
    kSayNothing,     // keep the connection open without an answer
    kNoLength,       // the end of the body is the end of the connection
    kCloseSilently,  // close after the answer without saying so
  };

  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
  Fault fault = Fault::kNone;
  std::string raw{};  // sent as it is instead of everything else, if not empty
};

class LoopbackServer {
 public:
  using Handler = std::function<LoopbackReply(const LoopbackRequest&)>;

  // `handler` runs in the threads of the server.
  explicit LoopbackServer(Handler handler);
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  int port() const { return port_; }
  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // Does not read the bodies of requests from now on.
  void StopReadingBodies() { read_bodies_ = false; }

  int connections() const { return connections_; }
  std::vector<LoopbackRequest> requests() const;
  // Waits until a request has come whole, but for its body.
  void WaitForRequests(std::size_t count) const;

 private:
  void Accept();
  void Serve(int fd);
  // False when the connection or the test ended.
  bool ReadMore(int fd, std::string& buffer) const;
  bool ReadRequest(int fd, std::string& buffer, LoopbackRequest& request);
  bool Send(int fd, const std::string& data) const;
  bool Answer(int fd, const LoopbackRequest& request, const LoopbackReply& reply) const;
  void WaitForEnd() const;

  Handler handler_;
  UniqueFd listener_;
  UniqueFd end_;  // readable when the server is to end
  int port_ = 0;
  std::atomic<bool> read_bodies_ = true;
  std::atomic<int> connections_ = 0;
  mutable std::mutex mutex_;
  mutable std::condition_variable requested_;
  std::vector<LoopbackRequest> requests_;
  std::vector<std::thread> servants_;
  std::thread acceptor_;
};

}  // namespace veza
