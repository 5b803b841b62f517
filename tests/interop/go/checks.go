package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"varve.example/interop/logv1"
)

const (
	// Calls that hold the picker to its word.
	pickedCalls = 50
	// Records that a stream is sent before its first answer is read.
	streamedRecords = 200
	// How long a follower may take to know what was just appended.
	lagMax = 10 * time.Second
	// The pause between two looks at a state that is waited for.
	poll = 20 * time.Millisecond
)

// check is one promise to a client; run says what it saw.
type check struct {
	name string
	run  func(ctx context.Context, addr string) (string, error)
}

var checks = []check{
	{"GetServers names every server and one leader", checkServers},
	{"Produce and Consume keep values and offsets", checkProduceConsume},
	{"ProduceStream answers in order", checkProduceStream},
	{"ConsumeStream reads in order and follows the tail", checkConsumeStream},
	{"Consume beyond the tail is OUT_OF_RANGE", checkBeyondTail},
	{"appends go to the leader, reads to followers in turn", checkPicking},
	{"any server takes any call", checkAnyServer},
}

// transport is how every connection is made.
var transport grpc.DialOption

// dial connects to the cluster through the resolver and the picker.
func dial(addr string) (*grpc.ClientConn, logv1.LogClient, error) {
	servers := serverResolver{dialOptions: []grpc.DialOption{transport}}
	conn, err := grpc.NewClient(scheme+":///"+addr, transport, grpc.WithResolvers(resolver.Builder(servers)))
	if err != nil {
		return nil, nil, err
	}
	return conn, logv1.NewLogClient(conn), nil
}

// checkServers comes first, so that it also holds for a cluster to which nothing was appended yet: an append waits for a
// server that is marked. An election may be under way.
func checkServers(ctx context.Context, addr string) (string, error) {
	for deadline := time.Now().Add(lagMax); ; time.Sleep(poll) {
		said, err := oneLeader(ctx, addr)
		if err == nil || time.Now().After(deadline) {
			return said, err
		}
	}
}

func oneLeader(ctx context.Context, addr string) (string, error) {
	servers, err := getServers(ctx, addr)
	if err != nil {
		return "", err
	}
	leaders, ids := 0, map[string]bool{}
	for _, server := range servers {
		if _, _, err := net.SplitHostPort(server.GetRpcAddr()); err != nil {
			return "", fmt.Errorf("server %q: %w", server.GetId(), err)
		}
		ids[server.GetId()] = true
		if server.GetIsLeader() {
			leaders++
		}
	}
	if leaders != 1 || len(ids) != len(servers) {
		return "", fmt.Errorf("%d leaders, %d names among %d servers", leaders, len(ids), len(servers))
	}
	return fmt.Sprintf("%d servers", len(servers)), nil
}

func checkProduceConsume(ctx context.Context, addr string) (string, error) {
	conn, client, err := dial(addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	values := [][]byte{[]byte("hello"), {}, {0, 255, 10, 13}, bytes.Repeat([]byte("varve "), 20_000)}
	last := uint64(0)
	for i, value := range values {
		offset, err := produce(ctx, client, value)
		if err != nil {
			return "", err
		}
		if i > 0 && offset <= last {
			return "", fmt.Errorf("offset %d came after %d", offset, last)
		}
		last = offset
		record, err := consume(ctx, client, offset)
		if err != nil {
			return "", err
		}
		if record.GetOffset() != offset || !bytes.Equal(record.GetValue(), value) {
			return "", fmt.Errorf("asked for offset %d, got %d with %d bytes instead of %d",
				offset, record.GetOffset(), len(record.GetValue()), len(value))
		}
	}
	return fmt.Sprintf("%d records, the last at offset %d", len(values), last), nil
}

func checkProduceStream(ctx context.Context, addr string) (string, error) {
	conn, client, err := dial(addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	offsets, err := produceStream(ctx, client, streamedRecords)
	if err != nil {
		return "", err
	}
	for i := range offsets {
		if i > 0 && offsets[i] <= offsets[i-1] {
			return "", fmt.Errorf("offset %d came after %d", offsets[i], offsets[i-1])
		}
	}
	for _, i := range []int{0, len(offsets) / 2, len(offsets) - 1} {
		record, err := consume(ctx, client, offsets[i])
		if err != nil {
			return "", err
		}
		if string(record.GetValue()) != streamed(i) {
			return "", fmt.Errorf("offset %d holds %q instead of %q", offsets[i], record.GetValue(), streamed(i))
		}
	}
	return fmt.Sprintf("%d records", len(offsets)), nil
}

func checkConsumeStream(ctx context.Context, addr string) (string, error) {
	conn, client, err := dial(addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	offsets, err := produceStream(ctx, client, streamedRecords)
	if err != nil {
		return "", err
	}
	// Where the stream begins has to be known to whoever serves it.
	if _, err := consumeEverywhere(ctx, addr, offsets[0]); err != nil {
		return "", err
	}
	stream, err := client.ConsumeStream(ctx, &logv1.ConsumeRequest{Offset: offsets[0]})
	if err != nil {
		return "", err
	}
	next, last := offsets[0], offsets[len(offsets)-1]
	followed := false
	for next <= last {
		answer, err := stream.Recv()
		if err != nil {
			return "", fmt.Errorf("at offset %d: %w", next, err)
		}
		if got := answer.GetRecord().GetOffset(); got != next {
			return "", fmt.Errorf("offset %d came where %d was due", got, next)
		}
		if next == last && !followed {
			followed = true
			if last, err = produce(ctx, client, []byte("one more")); err != nil {
				return "", err
			}
		}
		next++
	}
	return fmt.Sprintf("offsets %d to %d", offsets[0], last), nil
}

func checkBeyondTail(ctx context.Context, addr string) (string, error) {
	conn, client, err := dial(addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_, err = client.Consume(ctx, &logv1.ConsumeRequest{Offset: 1 << 40})
	if status.Code(err) != codes.OutOfRange {
		return "", fmt.Errorf("expected OUT_OF_RANGE, got %v", err)
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "varve" {
			return info.GetReason(), nil
		}
	}
	return "", errors.New("the error carries no reason of the domain varve")
}

func checkPicking(ctx context.Context, addr string) (string, error) {
	conn, client, err := dial(addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	offset, err := produce(ctx, client, []byte("picked"))
	if err != nil {
		return "", err
	}
	servers, err := consumeEverywhere(ctx, addr, offset)
	if err != nil {
		return "", err
	}
	leader := 0
	for port, leads := range servers {
		if leads {
			leader = port
		}
	}
	// A follower that is not connected yet is not read; that passes.
	readers := map[int]int{}
	for followers := len(servers) - 1; len(readers) < max(followers, 1) || followers > 0 && readers[leader] > 0; {
		clear(readers)
		for range pickedCalls {
			var served peer.Peer
			_, err := client.Consume(ctx, &logv1.ConsumeRequest{Offset: offset}, grpc.Peer(&served))
			if err != nil {
				return "", fmt.Errorf("of %d servers these were read: %v: %w", len(servers), readers, err)
			}
			readers[portOf(served)]++
		}
	}
	for range pickedCalls {
		var served peer.Peer
		request := &logv1.ProduceRequest{Record: &logv1.Record{Value: []byte("picked")}}
		if _, err := client.Produce(ctx, request, grpc.Peer(&served)); err != nil {
			return "", err
		}
		if portOf(served) != leader {
			return "", fmt.Errorf("an append went to port %d, but %d leads", portOf(served), leader)
		}
	}
	return fmt.Sprintf("leader on port %d, reads by port %v", leader, readers), nil
}

func checkAnyServer(ctx context.Context, addr string) (string, error) {
	servers, err := getServers(ctx, addr)
	if err != nil {
		return "", err
	}
	for _, server := range servers {
		if err := useOnly(ctx, server.GetRpcAddr()); err != nil {
			return "", fmt.Errorf("%s: %w", server.GetRpcAddr(), err)
		}
	}
	return fmt.Sprintf("%d servers", len(servers)), nil
}

// useOnly makes every call to one server, whoever leads.
func useOnly(ctx context.Context, addr string) error {
	conn, err := grpc.NewClient("passthrough:///"+addr, transport)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := logv1.NewLogClient(conn)
	offset, err := produce(ctx, client, []byte("to any"))
	if err != nil {
		return err
	}
	if _, err := produceStream(ctx, client, 1); err != nil {
		return err
	}
	if _, err := consume(ctx, client, offset); err != nil {
		return err
	}
	stream, err := client.ConsumeStream(ctx, &logv1.ConsumeRequest{Offset: offset})
	if err != nil {
		return err
	}
	answer, err := stream.Recv()
	if err == nil && answer.GetRecord().GetOffset() != offset {
		err = fmt.Errorf("offset %d came where %d was due", answer.GetRecord().GetOffset(), offset)
	}
	return err
}

func getServers(ctx context.Context, addr string) ([]*logv1.Server, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, transport)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answer, err := logv1.NewLogClient(conn).GetServers(ctx, &logv1.GetServersRequest{})
	if err == nil && len(answer.GetServers()) == 0 {
		err = errors.New("there are none")
	}
	return answer.GetServers(), err
}

// consumeEverywhere waits until every server has an offset, and tells their ports and which leads.
func consumeEverywhere(ctx context.Context, addr string, offset uint64) (map[int]bool, error) {
	servers, err := getServers(ctx, addr)
	if err != nil {
		return nil, err
	}
	ports := map[int]bool{}
	for _, server := range servers {
		at, err := net.ResolveTCPAddr("tcp", server.GetRpcAddr())
		if err != nil {
			return nil, err
		}
		ports[at.Port] = server.GetIsLeader()
		conn, err := grpc.NewClient("passthrough:///"+server.GetRpcAddr(), transport)
		if err != nil {
			return nil, err
		}
		_, err = consume(ctx, logv1.NewLogClient(conn), offset)
		conn.Close()
		if err != nil {
			return nil, err
		}
	}
	return ports, nil
}

func produce(ctx context.Context, client logv1.LogClient, value []byte) (uint64, error) {
	answer, err := client.Produce(ctx, &logv1.ProduceRequest{Record: &logv1.Record{Value: value}})
	return answer.GetOffset(), err
}

// consume reads one record, and waits for a follower that does not know it yet.
func consume(ctx context.Context, client logv1.LogClient, offset uint64) (*logv1.Record, error) {
	for deadline := time.Now().Add(lagMax); ; time.Sleep(poll) {
		answer, err := client.Consume(ctx, &logv1.ConsumeRequest{Offset: offset})
		if status.Code(err) != codes.OutOfRange || time.Now().After(deadline) {
			return answer.GetRecord(), err
		}
	}
}

// produceStream sends so many records before it reads the first answer, and gives their offsets.
func produceStream(ctx context.Context, client logv1.LogClient, records int) ([]uint64, error) {
	stream, err := client.ProduceStream(ctx)
	if err != nil {
		return nil, err
	}
	for i := range records {
		record := &logv1.Record{Value: []byte(streamed(i))}
		// After io.EOF, Recv tells why.
		if err := stream.Send(&logv1.ProduceRequest{Record: record}); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	var offsets []uint64
	for range records {
		answer, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		offsets = append(offsets, answer.GetOffset())
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the stream did not end as it should: %w", err)
	}
	return offsets, nil
}

func streamed(i int) string { return fmt.Sprintf("streamed-%04d", i) }

func portOf(served peer.Peer) int {
	if at, ok := served.Addr.(*net.TCPAddr); ok {
		return at.Port
	}
	return 0
}
