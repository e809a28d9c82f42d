// A tiny HTTP/1.1 server on a loopback port, for faults that a real S3 server does not produce on
// demand. Each connection has a thread. Connections are kept alive.
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
  // Returns the decoded value of a query parameter, or "(none)".
  std::string Query(const std::string& name) const;
};

struct LoopbackReply {
  enum class Fault {
    kNone,
    kDrop,           // close the connection without a response
    kTruncate,       // close the connection after half of the body
    kStall,          // send nothing after half of the body
    kTrickle,        // a byte of the body every 20 ms
    kTrickleHeader,  // a line of the header every 20 ms, for ever
    kSayNothing,     // keep the connection open without a response
    kNoLength,       // the end of the body is the end of the connection
    kCloseSilently,  // close after the response without announcing it
    kTunnel,         // of a proxy: passes bytes on to the loopback port that the target names
  };

  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
  Fault fault = Fault::kNone;
  std::string raw{};  // if not empty, sent in place of everything else
};

class LoopbackServer {
 public:
  using Handler = std::function<LoopbackReply(const LoopbackRequest&)>;

  // `handler` runs in the server's threads.
  explicit LoopbackServer(Handler handler);
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  int port() const { return port_; }
  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // From now on, the bodies of requests are not read.
  void StopReadingBodies() { read_bodies_ = false; }

  int connections() const { return connections_; }
  std::vector<LoopbackRequest> requests() const;
  // Waits until so many requests have arrived, except for their bodies.
  void WaitForRequests(std::size_t count) const;

 private:
  void Accept();
  void Serve(int fd);
  // Returns false when the connection or the test has ended.
  bool ReadMore(int fd, std::string& buffer) const;
  bool ReadRequest(int fd, std::string& buffer, LoopbackRequest& request);
  bool Send(int fd, const std::string& data) const;
  bool Answer(int fd, const LoopbackRequest& request, const LoopbackReply& reply) const;
  void Tunnel(int fd, const std::string& target) const;
  void WaitForEnd() const;

  Handler handler_;
  UniqueFd listener_;
  UniqueFd end_;  // readable when the server must end
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
