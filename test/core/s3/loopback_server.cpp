#include "core/s3/loopback_server.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>

namespace veza {

namespace {

std::string LowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string PercentDecode(const std::string& text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      decoded.push_back(static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16)));
      i += 2;
    } else {
      decoded.push_back(text[i]);
    }
  }
  return decoded;
}

}  // namespace

std::string LoopbackRequest::Query(const std::string& name) const {
  std::size_t begin = target.find('?');
  while (begin != std::string::npos) {
    const std::size_t end = target.find('&', begin + 1);
    const std::string pair = target.substr(begin + 1, end - begin - 1);
    if (pair.starts_with(name + '=')) {
      return PercentDecode(pair.substr(name.size() + 1));
    }
    begin = end;
  }
  return "(none)";
}

LoopbackServer::LoopbackServer(Handler handler)
    : handler_(std::move(handler)),
      listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      end_(eventfd(0, EFD_CLOEXEC)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(listener_.get(), 64) != 0 ||
      getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

LoopbackServer::~LoopbackServer() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(end_.get(), &one, sizeof one);
  acceptor_.join();
  for (std::thread& servant : servants_) {
    servant.join();
  }
}

std::vector<LoopbackRequest> LoopbackServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void LoopbackServer::WaitForRequests(std::size_t count) const {
  std::unique_lock lock(mutex_);
  requested_.wait(lock, [&] { return requests_.size() >= count; });
}

void LoopbackServer::Accept() {
  for (;;) {
    pollfd watched[2] = {{listener_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}};
    poll(watched, 2, -1);
    if ((watched[1].revents & POLLIN) != 0) {
      return;
    }
    const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ++connections_;
      servants_.emplace_back([this, fd] { Serve(fd); });
    }
  }
}

void LoopbackServer::Serve(int fd) {
  const UniqueFd closer(fd);
  std::string buffer;
  LoopbackRequest request;
  while (ReadRequest(fd, buffer, request) && Answer(fd, request, handler_(request))) {
    request = {};
  }
}

bool LoopbackServer::ReadMore(int fd, std::string& buffer) const {
  pollfd watched[2] = {{fd, POLLIN, 0}, {end_.get(), POLLIN, 0}};
  poll(watched, 2, -1);
  if ((watched[1].revents & POLLIN) != 0) {
    return false;
  }
  char piece[65'536];
  const ssize_t count = recv(fd, piece, sizeof piece, 0);
  if (count <= 0) {
    return false;
  }
  buffer.append(piece, static_cast<std::size_t>(count));
  return true;
}

bool LoopbackServer::ReadRequest(int fd, std::string& buffer, LoopbackRequest& request) {
  std::size_t end = 0;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
    if (!ReadMore(fd, buffer)) {
      return false;
    }
  }
  const std::size_t first_blank = buffer.find(' ');
  request.method = buffer.substr(0, first_blank);
  request.target =
      buffer.substr(first_blank + 1, buffer.find(' ', first_blank + 1) - first_blank - 1);
  for (std::size_t at = buffer.find("\r\n") + 2; at < end;) {
    const std::size_t line_end = buffer.find("\r\n", at);
    const std::size_t colon = buffer.find(": ", at);
    request.headers[LowerCase(buffer.substr(at, colon - at))] =
        buffer.substr(colon + 2, line_end - colon - 2);
    at = line_end + 2;
  }
  buffer.erase(0, end + 4);
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  requested_.notify_all();
  if (!read_bodies_) {
    WaitForEnd();
    return false;
  }
  const auto length = request.headers.find("content-length");
  const std::size_t size = length == request.headers.end() ? 0 : std::stoul(length->second);
  while (buffer.size() < size) {
    if (!ReadMore(fd, buffer)) {
      return false;
    }
  }
  request.body = buffer.substr(0, size);
  buffer.erase(0, size);
  return true;
}

bool LoopbackServer::Send(int fd, const std::string& data) const {
  std::size_t sent = 0;
  while (sent < data.size()) {
    pollfd watched[2] = {{fd, POLLOUT, 0}, {end_.get(), POLLIN, 0}};
    poll(watched, 2, -1);
    if ((watched[1].revents & POLLIN) != 0) {
      return false;
    }
    const ssize_t count =
        send(fd, data.data() + sent, data.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
      return false;
    }
    sent += static_cast<std::size_t>(count);
  }
  return true;
}

bool LoopbackServer::Answer(int fd, const LoopbackRequest& request,
                            const LoopbackReply& reply) const {
  using Fault = LoopbackReply::Fault;
  if (!reply.raw.empty()) {
    Send(fd, reply.raw);
    return false;
  }
  if (reply.fault == Fault::kDrop) {
    return false;
  }
  if (reply.fault == Fault::kTunnel) {
    Tunnel(fd, request.target);
    return false;
  }
  if (reply.fault == Fault::kSayNothing) {
    WaitForEnd();
    return false;
  }
  std::string head = fmt::format("HTTP/1.1 {} Reason\r\n", reply.status);
  bool has_length = reply.fault == Fault::kNoLength || reply.status == 204;
  for (const auto& [name, value] : reply.headers) {
    head += fmt::format("{}: {}\r\n", name, value);
    has_length = has_length || LowerCase(name) == "content-length";
  }
  if (reply.fault == Fault::kTrickleHeader) {
    pollfd watched{end_.get(), POLLIN, 0};
    for (std::string line = head; Send(fd, line) && poll(&watched, 1, 20) == 0;) {
      line = "X: y\r\n";
    }
    return false;
  }
  if (!has_length) {
    head += fmt::format("Content-Length: {}\r\n", reply.body.size());
  }
  if (!Send(fd, head + "\r\n")) {
    return false;
  }
  if (request.method == "HEAD") {
    return true;
  }
  if (reply.fault == Fault::kTruncate || reply.fault == Fault::kStall) {
    Send(fd, reply.body.substr(0, reply.body.size() / 2));
    if (reply.fault == Fault::kStall) {
      WaitForEnd();
    }
    return false;
  }
  if (reply.fault == Fault::kTrickle) {
    for (const char c : reply.body) {
      pollfd watched{end_.get(), POLLIN, 0};
      if (poll(&watched, 1, 20) != 0 || !Send(fd, std::string(1, c))) {
        return false;
      }
    }
    return true;
  }
  return Send(fd, reply.body) && reply.fault == Fault::kNone;
}

void LoopbackServer::Tunnel(int fd, const std::string& target) const {
  const UniqueFd other(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port =
      htons(static_cast<std::uint16_t>(std::stoi(target.substr(target.rfind(':') + 1))));
  if (connect(other.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      !Send(fd, "HTTP/1.1 200 Connection established\r\n\r\n")) {
    return;
  }
  for (;;) {
    pollfd watched[3] = {{fd, POLLIN, 0}, {other.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}};
    poll(watched, 3, -1);
    std::string piece;
    const bool upwards = watched[0].revents != 0;
    if (!ReadMore(upwards ? fd : other.get(), piece) || !Send(upwards ? other.get() : fd, piece)) {
      return;
    }
  }
}

void LoopbackServer::WaitForEnd() const {
  pollfd watched{end_.get(), POLLIN, 0};
  poll(&watched, 1, -1);
}

}  // namespace veza
