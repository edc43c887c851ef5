package transport

import (
	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/semanode/sema/access"
	"github.com/semanode/sema/transport/semav1"
)

// scope is what a right must be on.
type scope int

const (
	onName     scope = iota // the name in each request
	onNames                 // each name in the request, by itself
	onPrefix                // as much of it as there are rights on: the answer has no more
	onAnything              // any name at all
	onCluster               // which has no names
	onCalls                 // nothing yet: each call in the stream is judged by itself
	toAnyone                // no right is needed, and nobody need be known
)

// need is what a method needs.
type need struct {
	right access.Right
	scope scope
	// audit, unless empty, is what the audit log says was done.
	audit string
}

// needs has a row for every method of the client port, see TestEveryMethodNeedsARight. What
// is in no row is denied.
//
// Health checks are open: a load balancer has no identity, and learns what a connection
// that is refused would tell it. Reflection tells what the published schema does,
// but to strangers it shows what can be attacked.
var needs = map[string]need{
	semav1.Sema_Acquire_FullMethodName:      {right: access.Acquire},
	semav1.Sema_Wait_FullMethodName:         {right: access.Acquire},
	semav1.Sema_Touch_FullMethodName:        {right: access.Acquire},
	semav1.Sema_TouchAll_FullMethodName:     {right: access.Acquire, scope: onNames},
	semav1.Sema_Release_FullMethodName:      {right: access.Acquire},
	semav1.Sema_ForceRelease_FullMethodName: {right: access.Force, audit: "hold ended by force"},
	semav1.Sema_Get_FullMethodName:          {right: access.Read},
	semav1.Sema_List_FullMethodName:         {right: access.Read, scope: onPrefix},
	semav1.Sema_Status_FullMethodName:       {right: access.Read, scope: onAnything},
	semav1.Sema_Exchange_FullMethodName:     {right: access.Read, scope: onCalls},

	semav1.Sema_Join_FullMethodName:               {right: access.Admin, scope: onCluster, audit: "member joined"},
	semav1.Sema_FindMember_FullMethodName:         {right: access.Admin, scope: onCluster},
	semav1.Sema_Remove_FullMethodName:             {right: access.Admin, scope: onCluster, audit: "member removed"},
	semav1.Sema_TransferLeadership_FullMethodName: {right: access.Admin, scope: onCluster, audit: "leadership transferred"},

	// A backup has every name, token and client.
	semav1.Backup_Save_FullMethodName: {right: access.Admin, scope: onCluster, audit: "backup taken"},

	grpc_health_v1.Health_Check_FullMethodName: {scope: toAnyone},
	grpc_health_v1.Health_List_FullMethodName:  {scope: toAnyone},
	grpc_health_v1.Health_Watch_FullMethodName: {scope: toAnyone},

	reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      {right: access.Read, scope: onAnything},
	reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: {right: access.Read, scope: onAnything},
}

// keeps has the methods that are charged to the requests of an identity and never refused
// for them: they keep a hold that stands, or give it back.
var keeps = map[string]bool{
	semav1.Sema_Touch_FullMethodName:    true,
	semav1.Sema_TouchAll_FullMethodName: true,
	semav1.Sema_Release_FullMethodName:  true,
}

// callNeeds has the rights for the calls of an exchange.
var callNeeds = [...]access.Right{
	0:             access.Admin, // a method that this version does not know
	MethodAcquire: access.Acquire,
	MethodWait:    access.Acquire,
	MethodTouch:   access.Acquire,
	MethodRelease: access.Acquire,
	MethodGet:     access.Read,
}
