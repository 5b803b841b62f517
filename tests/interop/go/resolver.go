package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"

	"varve.example/interop/logv1"
)

const (
	// scheme of the targets that this resolver takes: varve:///host:port, any server of the cluster.
	scheme = "varve"
	// How long one question may take.
	resolveTimeout = 2 * time.Second
	// How often the servers are asked for: leadership moves without any connection failing.
	resolveInterval = time.Second
)

// leaderKey marks the address of the server that leads, among the attributes of an address.
type leaderKey struct{}

func isLeader(address resolver.Address) bool {
	leads, _ := address.Attributes.Value(leaderKey{}).(bool)
	return leads
}

// serverResolver finds the servers of a cluster by asking one of them, GetServers.
type serverResolver struct {
	dialOptions []grpc.DialOption
}

func (r serverResolver) Scheme() string { return scheme }

func (r serverResolver) Build(
	target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions,
) (resolver.Resolver, error) {
	config := cc.ParseServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, balancerName))
	if config.Err != nil {
		return nil, config.Err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{
		cc: cc, options: r.dialOptions, seed: target.Endpoint(), cancel: cancel,
		wake: make(chan struct{}, 1), known: []string{target.Endpoint()},
	}
	w.state.ServiceConfig = config
	w.done.Add(1)
	go w.run(ctx)
	return w, nil
}

// watch keeps one ClientConn told of the servers.
type watch struct {
	cc      resolver.ClientConn
	options []grpc.DialOption
	seed    string
	state   resolver.State
	// Servers to ask, the seed last.
	known  []string
	wake   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// ResolveNow is called when a connection fails: a leader may have gone.
func (w *watch) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case w.wake <- struct{}{}:
	default: // It is about to ask anyway.
	}
}

func (w *watch) Close() {
	w.cancel()
	w.done.Wait()
}

func (w *watch) run(ctx context.Context) {
	defer w.done.Done()
	for ctx.Err() == nil {
		if err := w.resolve(ctx); err != nil && ctx.Err() == nil {
			w.cc.ReportError(err)
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
			// Failed connections come in swarms; one question a while is enough.
			select {
			case <-ctx.Done():
			case <-time.After(resolveInterval / 10):
			}
		case <-time.After(resolveInterval):
		}
	}
}

// resolve asks one server after the other until one answers.
func (w *watch) resolve(ctx context.Context) error {
	var failures []error
	for _, addr := range w.known {
		servers, err := w.ask(ctx, addr)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", addr, err))
			continue
		}
		return w.tell(servers)
	}
	return errors.Join(failures...)
}

func (w *watch) ask(ctx context.Context, addr string) ([]*logv1.Server, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, w.options...)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	answer, err := logv1.NewLogClient(conn).GetServers(ctx, &logv1.GetServersRequest{})
	if err != nil {
		return nil, err
	}
	return answer.GetServers(), nil
}

func (w *watch) tell(servers []*logv1.Server) error {
	w.state.Addresses = nil
	w.known = nil
	for _, server := range servers {
		w.known = append(w.known, server.GetRpcAddr())
		w.state.Addresses = append(w.state.Addresses, resolver.Address{
			Addr: server.GetRpcAddr(),
			// Its certificate names the server itself, not whatever was dialled first.
			ServerName: server.GetRpcAddr(),
			Attributes: attributes.New(leaderKey{}, server.GetIsLeader()),
		})
	}
	w.known = append(w.known, w.seed)
	return w.cc.UpdateState(w.state)
}
