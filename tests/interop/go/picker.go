package main

import (
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
)

// balancerName is how the resolver's service config asks for the picker below.
const balancerName = "varve"

func init() {
	balancer.Register(base.NewBalancerBuilder(balancerName, pickerBuilder{}, base.Config{}))
}

type pickerBuilder struct{}

// Build makes a picker of the servers that are connected; grpc-go calls it whenever these change.
func (pickerBuilder) Build(info base.PickerBuildInfo) balancer.Picker {
	p := new(picker)
	for conn, about := range info.ReadySCs {
		if isLeader(about.Address) {
			p.leader = conn
		} else {
			p.followers = append(p.followers, conn)
		}
	}
	return p
}

// picker sends appends to the leader and reads to the followers in turn, or to the leader where there is none.
type picker struct {
	leader    balancer.SubConn
	followers []balancer.SubConn
	turn      atomic.Uint64
}

func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	conn := p.leader
	if isRead(info.FullMethodName) && len(p.followers) > 0 {
		conn = p.followers[p.turn.Add(1)%uint64(len(p.followers))]
	}
	if conn == nil {
		// The call waits for another picker, until its deadline.
		return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
	}
	return balancer.PickResult{SubConn: conn}, nil
}

func isRead(method string) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	return slices.Contains([]string{"Consume", "ConsumeStream", "GetServers"}, name)
}
